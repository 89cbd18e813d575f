"""`run --json`: what happens in a run, for machines: one JSON object a line on stdout, each flushed at once.

`event` names the kind. Readers ignore kinds and keys that they don't know. The first line is `start`, or `error`
where nothing was started; the last is `end` or `error`. A process that is killed, or stopped for the second time,
gives no last line; an option that can't be parsed gives none at all, only exit code 2 and a sentence on stderr.

| event      | when                                 | keys |
|------------|--------------------------------------|------|
| `start`    | the run begins                       | `version` (1), `inputs` (list), `output`, `engine`, `config` (the pipeline file), `stages` (names), `budget_usd`, `process` (its id) |
| `plan`     | on an output with results: it is known what will be done | `found`, `unchanged` (documents); how many are done again or first, by reason: `new`, `file_changed`, `settings_changed`, `output_missing`, `unfinished`, `retry`, `force`; `changes` (what changed: documents), `gone` (documents with results that are not in the input), `expected_usd` |
| `document` | a line of results.jsonl is committed | `path`, `stage` (null: the file can't be read), `status`, `reason`, `engine`, `file` (its data, in the output), `message` (what is wrong), `tokens` (bought in this run), `cost_usd` |
| `waiting`  | a pause of 3 s or more begins        | `endpoint`, `why`, `seconds` |
| `progress` | every 5 s                            | `done`, `found`, `listed` (these are all there are), `statuses`, `tokens` and `paid_usd` (of this run), `cost_usd` (of this output), `budget_usd`, `rate_per_minute`, `eta_s`, `waiting` (as the event of that name) |
| `end`      | the run is over                      | `output`, `counts` (all lines by status), `stages` (the same of each stage), `this_run` (the same of this run), `fallbacks`, `documents`, `unchanged`, `pages_found`, `pages_read`, `gone` and `pruned` (documents that are not in the input any more), `unfinished` (left under way by a stop), `tokens`, `sent` (answers bought), `requests` (that they took: several answers may come with one), `stored`, `shared` (of those, what the shared cache had), `retries`, `paid_usd` (of this run), `caches_usd` (of that, explicit caches), `cost_usd` (of this output), `engine`, `seconds`, `waited` (seconds by endpoint), `stopped` (why it ended early), `next` (what to type), `exit_code` |
| `error`    | it could not begin, or not go on     | `exit_code`, `message` (the sentence of stderr) |

A key is always there; null is what there is not, or what is not known: money of which a price is unknown, a rate
of too few documents. Where nobody reads stdout any more (`| head -1`) the run goes on without events and
says so on stderr: the work does not hang on who listens, and a signal stops it.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import Output, to_nowhere
from pipeline.cli.progress import Cadence, News, Pause, Standing

if TYPE_CHECKING:
    from decimal import Decimal

    from pipeline.results import Result


class Events:
    """The events of one run; silent without --json."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._open = output.json
        self._order = asyncio.Lock()
        self._cadence = Cadence(5, 5)
        self._news = News()

    def write(self, event: str, **values: Any) -> None:
        """One line, at once."""
        from pipeline.writers import dump

        if not self._open:
            return
        try:
            sys.stdout.write(dump({"event": event, **values}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._open = False
            to_nowhere(sys.stdout)
            self._output.warn("nobody reads stdout any more: no more events; the run goes on")

    async def send(self, event: str, **values: Any) -> None:
        """One line, out of the event loop: a slow reader must not keep answers from being read in time."""
        if self._open:
            async with self._order:
                await asyncio.to_thread(self.write, event, **values)

    async def document(self, result: "Result") -> None:
        """A line of results.jsonl is committed."""
        if not self._open:
            return
        wrong = "; ".join(each.message for each in result.findings if each.severity == "error")
        await self.send(
            "document",
            path=result.document.path,
            stage=result.stage,
            status=result.status,
            reason=result.reason,
            engine=result.engine,
            file=_file_of(result),
            message=wrong[:400] or None,
            tokens=sum(attempt.took for attempt in result.attempts if not attempt.stored),
            cost_usd=dollars(result.cost_usd),
        )

    async def show(self, now: float, standing: Standing) -> None:
        """A pause that begins, and now and then how far it is."""
        for pause in self._news.of(now, standing.pauses):
            await self.send("waiting", **_of_pause(pause))
        if self._cadence.due(now):
            await self.send("progress", **_of_standing(standing))

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Tell an error that ends the run, and let it pass."""
        from pipeline.errors import FieldsiftError, SetupError

        try:
            yield
        except FieldsiftError as error:
            self.write("error", exit_code=error.exit_code, message=str(error))
            raise
        except OSError as error:
            self.write("error", exit_code=SetupError.exit_code, message=str(error))
            raise
        except KeyboardInterrupt:
            self.write("error", exit_code=130, message="interrupted before the run began")
            raise
        except Exception as error:
            told = f"a fault of fieldsift itself ({type(error).__name__})"
            self.write("error", exit_code=70, message=told)
            raise


def dollars(amount: "Decimal | None") -> float | None:
    """An amount as JSON has it; null where it isn't known."""
    return None if amount is None else float(amount)


def _file_of(result: "Result") -> str | None:
    from pipeline.writers import file_of

    file = file_of(result)
    return None if file is None else file.as_posix()


def _of_pause(pause: Pause) -> dict[str, Any]:
    return {"endpoint": pause.endpoint, "why": pause.why, "seconds": round(pause.seconds, 1)}


def _of_standing(standing: Standing) -> dict[str, Any]:
    return {
        "done": standing.done,
        "found": standing.found,
        "listed": standing.listed,
        "statuses": dict(standing.statuses),
        "tokens": standing.tokens,
        "paid_usd": dollars(standing.paid),
        "cost_usd": dollars(standing.cost),
        "budget_usd": dollars(standing.budget),
        "rate_per_minute": None if standing.rate is None else round(standing.rate, 1),
        "eta_s": None if standing.left is None else round(standing.left, 1),
        "waiting": _of_pause(standing.pauses[0]) if standing.pauses else None,
    }

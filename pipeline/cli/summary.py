"""The last lines of a run: what came out, what is wrong, what to type next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.advice import Facts, what_next
from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.api import Run
    from pipeline.ledger import Ledger
    from pipeline.results import Result
    from pipeline.runner import Runner

#: Seconds of pauses from which on the summary names them.
MUCH = 5.0


class Seen:
    """What the summary says about values and findings; its size is that of the schema, not of the folder."""

    def __init__(self) -> None:
        self.evidence: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str]] = Counter()

    def take(self, result: "Result") -> None:
        """Count one Result."""
        self.evidence.update(evidence.status for evidence in result.evidence)
        for finding in result.findings:
            if finding.severity == "error":
                tokens = finding.pointer.split("/")
                pointer = "/".join("*" if token.isdigit() else token for token in tokens)
                where = f"{result.stage or 'file'}: {result.status}"
                self.findings[where, f"{finding.rule} {pointer}".strip()] += 1


@dataclass(frozen=True, slots=True)
class Ending:
    """A run that is over, with what was seen of it.

    `waited` are the seconds of pauses by endpoint, `stages` the lines by status of each, `paid` its own dollars
    (None: a price is unknown) with those for explicit caches (`caches`).
    """

    run: "Run"
    runner: "Runner"
    seen: Seen
    seconds: float
    state: Path
    waited: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    paid: Decimal | None = Decimal(0)
    caches: Decimal = Decimal(0)

    @property
    def next(self) -> str:
        """What to type next."""
        from pipeline.ledger.view import View, view
        from pipeline.results import DONE

        run, tally = self.run, self.runner.tally
        # Where all is well there is nothing to look for in a ledger that may be large.
        looked = view(self.state) if run.counts.keys() - DONE else View()
        return what_next(
            Facts(
                output=str(run.output),
                counts=run.counts,
                reasons=looked.reasons,
                messages=[str(tally.stopped)] if tally.stopped else looked.messages,
                ended=tally.ended,
                cut=tally.interrupted,
                engine=run.engine,
                fault=str(tally.fault_log or ""),
            )
        )

    @property
    def pauses(self) -> dict[str, float]:
        """The seconds of pauses by endpoint, where they were many."""
        return {name: seconds for name, seconds in self.waited.items() if seconds >= MUCH}


def booked(ledger: "Ledger", since: int = 0) -> Decimal | None:
    """The dollars that are booked or reserved, by runs from `since` on; None where a price is unknown."""
    from pipeline.limits import dollars

    return None if ledger.calls(since)[1] else Decimal(dollars(ledger.spent(since)))


def for_caches(ledger: "Ledger", since: int) -> Decimal:
    """Those of them that explicit caches took."""
    from pipeline.limits import dollars

    return Decimal(dollars(ledger.spent(since, "cache *")))


def as_json(ending: Ending) -> dict[str, object]:
    """The summary for `--json`: the keys of the event `end`."""
    run, tally, asker = ending.run, ending.runner.tally, ending.runner.asker
    return {
        "output": str(run.output),
        "counts": dict(run.counts),
        "stages": ending.stages,
        "this_run": tally.statuses,
        "fallbacks": tally.fallbacks,
        "documents": tally.sources,
        "unchanged": run.unchanged,
        "pages_found": tally.pages_found,
        "pages_read": tally.pages_read,
        "gone": tally.gone,
        "pruned": tally.pruned,
        "unfinished": tally.unfinished,
        "tokens": asker.bought.tokens,
        "sent": asker.bought.sent,
        "requests": asker.bought.requests,
        "stored": asker.stored,
        "shared": ending.runner.commons.found if ending.runner.commons else 0,
        "retries": ending.runner.retries,
        "paid_usd": None if ending.paid is None else float(ending.paid),
        "caches_usd": float(ending.caches),
        "cost_usd": None if run.cost_usd is None else float(run.cost_usd),
        "engine": run.engine,
        "seconds": round(ending.seconds, 1),
        "waited": {name: round(seconds, 1) for name, seconds in ending.waited.items()},
        "stopped": str(tally.stopped) if tally.stopped else None,
        "next": ending.next,
        "exit_code": run.exit_code,
    }


def tell(ending: Ending, output: Output) -> None:
    """Print it: for a person on a terminal, as `key=value` lines elsewhere; the engine in the very last line."""
    tally = ending.runner.tally
    if tally.stopped:
        output.warn(f"stopped: {tally.stopped}")
    if (commons := ending.runner.commons) and commons.trouble:
        output.warn(commons.trouble)
    if tally.fault_log:
        output.warn(f"a fault of fieldsift itself; what happened is in {tally.fault_log}")
    if not output.terminal:
        _for_a_log(ending, output)
        return
    for line in _for_a_person(ending):
        output.say(line)


def money(amount: Decimal | None) -> str:
    """Dollars with four places, or `unknown`."""
    return "unknown" if amount is None else f"{amount:.4f}"


def _for_a_log(ending: Ending, output: Output) -> None:
    run, seen = ending.run, ending.seen
    tally, asker = ending.runner.tally, ending.runner.asker
    for stage, counts in ending.stages.items() if len(ending.stages) > 1 else ():
        output.facts("run stage", stage=stage, **counts)
    if seen.evidence:
        output.facts("run values", **dict(seen.evidence.most_common()))
    for (where, told), number in seen.findings.most_common(5):
        output.facts("run finding", count=number, where=where, rule=told)
    for engine, number in tally.fallbacks.items():
        output.facts("run fallback", engine=engine, count=number)
    for endpoint, seconds in ending.pauses.items():
        output.facts("run waited", endpoint=endpoint, seconds=round(seconds))
    for sentence in _gone(tally.gone, tally.pruned):
        output.facts("run gone", told=sentence)
    output.facts("run next", command=ending.next)
    output.facts(
        "run end",
        **run.counts,
        documents=tally.sources,
        pages=tally.pages_found,
        pages_read=tally.pages_read,
        unchanged=run.unchanged,
        sent=asker.bought.sent,
        requests=asker.bought.requests,
        stored=asker.stored,
        retries=ending.runner.retries or None,
        tokens=asker.bought.tokens,
        superseded=tally.superseded or None,
        unfinished=tally.unfinished or None,
        gone=tally.gone or None,
        pruned=tally.pruned or None,
        paid_usd=money(ending.paid),
        caches_usd=money(ending.caches) if ending.caches else None,
        cost_usd=money(run.cost_usd),
        seconds=f"{ending.seconds:.1f}",
        exit=run.exit_code,
        engine=run.engine,
    )


def _for_a_person(ending: Ending) -> list[str]:
    run, tally = ending.run, ending.runner.tally
    counts = "  ".join(f"{status} {number}" for status, number in run.counts.items()) or "nothing"
    read = f"{tally.sources} documents, {tally.pages_found} pages, {run.unchanged} unchanged"
    lines = ["", f"  {counts}   ({read}, {ending.seconds:.1f} s)"]
    if len(ending.stages) > 1:
        lines.append(f"  {of_stages(ending.stages)}")
    if tally.pages_unread:
        lines.append(f"  {tally.pages_unread} pages were not read: their Results say why")
    lines += _values(ending.seen.evidence)
    if tally.unfinished:
        lines.append(f"  {tally.unfinished} documents were under way and are left to the next run")
    if tally.superseded:
        lines.append(
            f"  {tally.superseded} results of other stages, of an earlier run, were superseded"
        )
    lines += [f"  {sentence}" for sentence in _gone(tally.gone, tally.pruned)]
    lines += [
        f"  {n} × {where}: {told}" for (where, told), n in ending.seen.findings.most_common(5)
    ]
    lines += [
        f"  {number} × answered by {engine}, in place of a model that was down"
        for engine, number in tally.fallbacks.items()
    ]
    lines += _bought(ending)
    return [*lines, f"  next: {ending.next}", f"  engine: {run.engine}"]


def of_stages(stages: Mapping[str, Mapping[str, int]]) -> str:
    """What each stage came to, in words: `kind 7 valid; invoice 4 valid, 3 skipped`."""
    told = (
        (stage, ", ".join(f"{number:,} {status}" for status, number in counts.items()))
        for stage, counts in stages.items()
    )
    return "; ".join(f"{stage} {counts}" for stage, counts in told)


def _gone(gone: int | None, pruned: int) -> list[str]:
    if pruned:
        return [f"the results of {pruned} documents that are no longer in the input were removed"]
    if gone:
        return [
            f"{gone} documents with results are no longer in the input, and counted too: --prune removes them"
        ]
    return []


def _values(evidence: Counter[str]) -> list[str]:
    found = [(status, n) for status, n in evidence.most_common() if status != "absent"]
    if found:
        parts = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in found)
        return [f"  {sum(n for _, n in found)} values: {parts}; {evidence['absent']} null"]
    return [f"  no values: all {evidence['absent']} fields are null"] if evidence else []


def _bought(ending: Ending) -> list[str]:
    from pipeline.cli.progress import clock

    asker = ending.runner.asker
    lines = [
        f"  waited {clock(seconds)} in all for {name}" for name, seconds in ending.pauses.items()
    ]
    if asker.bought.sent or asker.stored:
        sent = asker.bought.requests
        with_ = f"with {sent} request{'s' if sent != 1 else ''} "
        told = with_ if sent != asker.bought.sent else ""
        caches = f", {money(ending.caches)} of it for explicit caches" if ending.caches else ""
        paid = f"{asker.bought.tokens:,} tokens, {money(ending.paid)} USD{caches}"
        bought = f"{asker.bought.sent} answers bought {told}({paid})"
        again = f", {ending.runner.retries} retries" if ending.runner.retries else ""
        whole = f"{money(ending.run.cost_usd)} USD so far"
        lines.append(f"  {bought}, {asker.stored} stored ones used{again}; {whole}")
    return lines

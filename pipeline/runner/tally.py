"""How a run goes (Options), and what it has done so far (Tally)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import FieldsiftError, UsageError
from pipeline.results import CONTINUES, DONE, Result
from pipeline.runner.survey import Survey

#: How many inputs of a folder are looked at for what this installation can't read, before the start.
PREFLIGHT = 200
#: Statuses that can be asked for again.
RETRIES = ("failed", "invalid", "refused", "truncated", "unreadable")
#: Documents worked on at the same time where nothing else is said: they wait for answers (an endpoint is
#: asked by few at first, and by more while it keeps up), or for the disk.
JOBS = 32
JOBS_HERE = 8
#: Seconds that a run which is told to stop gives to what is in flight.
GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes, apart from what is asked: see `fieldsift run --help` for each.

    `stages`: only lines of these are written; documents go through what they read of earlier ones, too.
    `partial`: the sources are only some of the input, so that nothing is known of documents that are missing.
    """

    force: bool = False
    retry: Sequence[str] = ()
    fail_fast: bool = False
    offline: bool = False
    skip_unreadable: bool = False
    allow_unpriced: bool = False
    prune: bool = False
    partial: bool = False
    stages: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.retry, str) or set(self.retry) - set(RETRIES):
            raise UsageError(f"retry {self.retry!r}: give statuses of {', '.join(RETRIES)}")
        if self.prune and self.partial:
            raise UsageError("prune needs the whole input: not with a limit or a sample of it")


@dataclass(slots=True)
class Tally:
    """What a run has done so far; `stopped` is why it ended early.

    `found` inputs were listed so far, all of them when `listed`; `survey` is there on an output with
    results, before anything is sent. `sources` were taken up, the `unchanged` ones among them, and `done`
    are through. Pages are those of the documents of this run: a page is read when a stage has an answer that covers it,
    and none was asked about it in vain. `gone` documents have results and are not in the input (None: it isn't
    known), those of the `pruned` ones were removed.
    `unfinished` counts the documents that were taken up and left, because the run was told to stop.
    `fallbacks` counts the Results of endpoints that answered in place of the stage's own model.
    """

    found: int = 0
    listed: bool = False
    survey: Survey | None = None
    sources: int = 0
    done: int = 0
    unchanged: int = 0
    pages: int = 0
    pages_found: int = 0
    pages_read: int = 0
    gone: int | None = 0
    pruned: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    superseded: int = 0
    stopped: FieldsiftError | None = None
    interrupted: bool = False
    unfinished: int = 0
    fault_log: Path | None = None

    @property
    def pages_unread(self) -> int:
        """Pages that were found and not read."""
        return self.pages_found - self.pages_read

    def note_unchanged(self, number: int) -> None:
        """Count inputs with which nothing is to do."""
        self.sources += number
        self.done += number
        self.unchanged += number

    def note_pages(self, results: Sequence[Result]) -> None:
        """Count the pages of a document, which all its Results tell of."""
        own = [each for each in results if each.document.parent is None]
        # What reads earlier results in the document's place has pages of its own.
        own = [each for each in own if each.coverage.pages == (each.document.pages or 0)]
        asked = [each.coverage for each in own if each.status != "skipped"]
        found = max((each.coverage.pages for each in own), default=0)
        in_vain = max((each.sent - each.answered for each in asked), default=0)
        self.pages_found += found
        self.pages_read += max(
            0, min(max((each.answered for each in asked), default=0), found - in_vain)
        )

    def count(self, result: Result) -> None:
        """Count one Result."""
        self.statuses[result.status] = self.statuses.get(result.status, 0) + 1
        if any(finding.rule == "fallback" for finding in result.findings):
            engine = result.engine or ""
            self.fallbacks[engine] = self.fallbacks.get(engine, 0) + 1


def exit_code(counts: Mapping[str, int], tally: Tally, error: FieldsiftError | None = None) -> int:
    """The exit code of a run, by the table in README.md: the first of 130, 70, 4, 3, 1, 0 that holds.

    `counts` are the lines by status, and `error` is what ended the run.
    """
    seen = {*counts, *tally.statuses}
    holding = {
        130 if tally.interrupted else 0,
        70 if tally.fault_log else 0,
        3 if seen & CONTINUES else 0,
        0 if seen <= DONE else 1,
        *(each.exit_code for each in (error, tally.stopped) if each),
    }
    return next(code for code in (130, 70, 4, 3, 5, 2, 1, 0) if code in holding)

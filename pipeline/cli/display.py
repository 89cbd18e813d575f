"""Progress as people see it: a live display on a terminal, `key=value` lines in a log."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cli.output import Output
from pipeline.cli.progress import Cadence, Display, News, Standing, clock, short
from pipeline.cli.summary import money

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

#: Columns of the bar, and the least of the terminal for which there is one.
_BAR, _WIDE = 24, 64


@contextlib.contextmanager
def shown(output: Output) -> Iterator[Display]:
    """The display that fits: live on a terminal, else lines now and then; none with -q and --no-progress."""
    if output.quiet or not output.progress:
        yield Silent()
    elif not output.terminal:
        yield Lines(output)
    else:
        with _on_a_terminal(output) as display:
            yield display


@contextlib.contextmanager
def _on_a_terminal(output: Output) -> Iterator[Display]:
    import sys

    from rich.console import Console
    from rich.live import Live

    console = Console(
        stderr=True, force_terminal=True, color_system="auto" if output.styled else None
    )
    if console.is_dumb_terminal or (output.json and sys.stdout.isatty()):
        # A terminal that can't go back a line, or one on which the events scroll by.
        yield Silent() if output.json else Lines(output)
        return
    # Events on stdout are for somebody else: they must not be drawn into the display.
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        output.live = console
        try:
            yield Screen(live, console)
        finally:
            output.live = None


class Silent:
    """Nothing is shown."""

    async def show(self, now: float, standing: Standing) -> None:
        """Nothing."""


class Lines:
    """`run progress ...` after 10 seconds and then every 30; `run waiting ...` when a pause begins."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._cadence = Cadence(10, 30)
        self._news = News()

    async def show(self, now: float, standing: Standing) -> None:
        """A line, if it is time for one."""
        for pause in self._news.of(now, standing.pauses):
            self._output.facts(
                "run waiting",
                endpoint=pause.endpoint,
                why=pause.why,
                seconds=round(pause.seconds),
            )
        if not self._cadence.due(now):
            return
        pause_now = standing.pauses[0] if standing.pauses else None
        self._output.facts(
            "run progress",
            done=standing.done,
            found=standing.found if standing.listed else f"{standing.found}+",
            **standing.statuses,
            tokens=standing.tokens,
            cost_usd=money(standing.cost),
            rate_per_minute=None if standing.rate is None else f"{standing.rate:.1f}",
            eta_s=None if standing.left is None else round(standing.left),
            waiting=pause_now
            and f"{pause_now.endpoint}: {pause_now.why}, {pause_now.seconds:.0f} s",
        )


class Screen:
    """Two lines that stay at the bottom of the terminal, and a third while something is waited for."""

    def __init__(self, live: "Live", console: "Console") -> None:
        self._live, self._console = live, console
        self._last: tuple[object, ...] = ()

    async def show(self, now: float, standing: Standing) -> None:
        """Draw it, where anything changed."""
        from rich.text import Text

        width = self._console.width - 1  # a full line makes some terminals wrap
        lines = drawn(standing, width, fancy=self._console.encoding.startswith("utf"))
        if self._last == (width, *lines):
            return
        self._last = (width, *lines)
        text = Text(no_wrap=True, overflow="crop")
        for number, line in enumerate(lines):
            text.append("\n" * bool(number) + line, style="yellow" if number == 2 else "")
        self._live.update(text, refresh=True)


def drawn(standing: Standing, width: int, *, fancy: bool = True) -> list[str]:
    """The lines of the display, none longer than `width`; what does not fit is left out, the last first."""
    first = [
        _documents(standing),
        "" if standing.rate is None else f"{standing.rate:.0f}/min",
        "" if standing.left is None else f"ETA {clock(standing.left)}",
    ]
    if width >= _WIDE and standing.listed:
        first.insert(0, bar(standing.done, standing.found, _BAR, fancy=fancy))
    lines = [fitted(first, width), fitted(_second(standing), width)]
    if standing.pauses:
        pause = standing.pauses[0]
        why = f"waiting {clock(math.ceil(pause.seconds))}: {pause.why} ({pause.endpoint})"
        lines.append(why if len(why) <= width else why[: width - 1] + ("…" if fancy else "~"))
    return lines


def _documents(standing: Standing) -> str:
    if standing.listed:
        return f"{standing.done:,} of {standing.found:,}"
    so_far = f", {standing.found:,} found so far" if standing.found > standing.done else ""
    return f"{standing.done:,} done{so_far}"


def _second(standing: Standing) -> list[str]:
    from pipeline.results import DONE

    parts = []
    if standing.cost != Decimal(0) or standing.budget is not None:
        of = "" if standing.budget is None else f" of {standing.budget}"
        parts.append(f"${money(standing.cost)}{of}")
    if standing.tokens:
        parts.append(f"{short(standing.tokens)} tokens")
    good = sum(number for status, number in standing.statuses.items() if status in DONE)
    other = [f"{name} {n:,}" for name, n in standing.statuses.items() if name not in DONE]
    return [*parts, f"ok {good:,}", *other]


def fitted(parts: Sequence[str], width: int) -> str:
    """As many of the parts as fit into a line, from the first on; that one is cut, if it must be."""
    line = ""
    for part in filter(None, parts):
        longer = f"{line}  {part}" if line else part[:width]
        if len(longer) > width:
            break
        line = longer
    return line


def bar(done: int, total: int, width: int, *, fancy: bool = True) -> str:
    """A bar that also tells without colours how far it is."""
    filled = width if not total else min(width, done * width // total)
    full, empty = ("━", "─") if fancy else ("#", "-")
    return full * filled + empty * (width - filled)

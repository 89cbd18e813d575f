"""What goes where: data to stdout, everything else to stderr; colour and movement only on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


class Progress(Protocol):
    """Told about each finished document."""

    def advance(self, counts: dict[str, int], cost: str) -> None:
        """One more; `counts` by status, `cost` in words."""
        ...

    def note(self, text: str) -> None:
        """A line about a document that is not well, beside the display; --quiet does not silence it."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """The two streams of one call, as the global options want them."""

    quiet: bool = False
    verbose: int = 0
    color: str = "auto"
    progress: bool = True
    json: bool = False

    @property
    def terminal(self) -> bool:
        """Whether a person looks at stderr."""
        return sys.stderr.isatty()

    def data(self, text: str) -> None:
        """A piece of data, to stdout."""
        sys.stdout.write(text + "\n")

    def say(self, text: str, *, style: str = "") -> None:
        """A message, to stderr, unless --quiet."""
        if not self.quiet:
            self.warn(text, style=style)

    def warn(self, text: str, *, style: str = "") -> None:
        """A message that --quiet does not silence."""
        if self._styled():
            from rich.console import Console

            console = Console(stderr=True, force_terminal=True, soft_wrap=True, highlight=False)
            console.print(plain(text), style=style or None, markup=False)
        else:
            sys.stderr.write(plain(text) + "\n")

    def facts(self, head: str, **values: Any) -> None:
        """One plain line for machines: `head key=value ...`."""
        told = " ".join(
            f"{name}={_word(value)}" for name, value in values.items() if value is not None
        )
        self.say(f"{head} {told}")

    def _styled(self) -> bool:
        return self.color == "always" or (self.color == "auto" and self.terminal)

    @contextmanager
    def counting(self, total: int | None) -> Iterator[Progress]:
        """A progress display: a bar on a terminal, else a line now and then."""
        if self.quiet or not self.progress:
            yield _Silent(self)
        elif self.terminal:
            with _bar(total, self) as bar:
                yield bar
        else:
            yield _Lines(self)


def plain(text: str) -> str:
    """The text without what could move a terminal's cursor: control characters become escapes."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def _word(value: Any) -> str:
    text = str(value)
    return (
        text
        if text and not any(c.isspace() or c == '"' for c in text)
        else '"' + text.replace('"', "'") + '"'
    )


class _Silent:
    def __init__(self, output: Output) -> None:
        self.output = output

    def advance(self, counts: dict[str, int], cost: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.output.warn(text, style="yellow")


class _Lines(_Silent):
    """A line at 100, 200, ... documents: enough for a log, not too much for one."""

    def advance(self, counts: dict[str, int], cost: str) -> None:
        done = sum(counts.values())
        if done % 100 == 0:
            self.output.facts("run progress", done=done, **counts, cost_usd=cost)


@contextmanager
def _bar(total: int | None, output: Output) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from pipeline.results import DONE

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, no_color=True if output.color == "never" else None)
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, told="")

        class Shown:
            def advance(self, counts: dict[str, int], cost: str) -> None:
                good = sum(number for status, number in counts.items() if status in DONE)
                other = " ".join(
                    f"{status} {number}" for status, number in counts.items() if status not in DONE
                )
                bar.update(task, advance=1, told=f"ok {good} {other} ${cost}")

            def note(self, text: str) -> None:
                bar.console.print(plain(text), style="yellow", markup=False, highlight=False)

        yield Shown()

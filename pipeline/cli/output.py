"""What goes where: data to stdout, everything else to stderr; colour only where it is wanted."""

import os
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(slots=True)
class Output:
    """The two streams of one call, as the global options want them.

    While a progress display stands, `live` is its console: what is said then goes above it.
    """

    quiet: bool = False
    verbose: int = 0
    color: str = "auto"
    progress: bool = True
    json: bool = False
    live: "Console | None" = None

    @property
    def terminal(self) -> bool:
        """Whether a person looks at stderr."""
        return sys.stderr.isatty()

    @property
    def styled(self) -> bool:
        """Whether stderr gets colours: by --color, else NO_COLOR and FORCE_COLOR, else on a terminal."""
        from pipeline.config import wants_color

        wanted = {"always": True, "never": False}.get(self.color)
        wanted = wants_color() if wanted is None else wanted
        return self.terminal if wanted is None else wanted

    def data(self, text: str) -> None:
        """A piece of data, to stdout."""
        sys.stdout.write(text + "\n")

    def say(self, text: str, *, style: str = "") -> None:
        """A message, to stderr, unless --quiet."""
        if not self.quiet:
            self.warn(text, style=style)

    def warn(self, text: str, *, style: str = "") -> None:
        """A message that --quiet does not silence; `style` is `bold` or a colour."""
        text = plain(text)
        if self.live is not None:
            self.live.print(
                text, style=style or None, markup=False, highlight=False, soft_wrap=True
            )
            return
        if style and self.styled:
            import click

            bold = style == "bold"
            text = click.style(text, bold=bold, fg=None if bold else style)
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            to_nowhere(sys.stderr)  # nobody reads it any more; the work goes on

    def facts(self, head: str, **values: Any) -> None:
        """One plain line for machines: `head key=value ...`; what is None is left out."""
        told = " ".join(
            f"{name}={_word(value)}" for name, value in values.items() if value is not None
        )
        self.say(f"{head} {told}")


def to_nowhere(stream: IO[str]) -> None:
    """Let a stream whose reader is gone lead nowhere, so that no later write or exit fails of it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


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

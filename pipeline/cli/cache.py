"""`fieldsift cache`: where stored answers lie, how much they are, and taking old ones away."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import EPILOG, common, option, output_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config import Cache
    from pipeline.ledger.commons import Commons, Held

_USER = option(
    "--user",
    is_flag=True,
    help="The user's own cache folder, where the pipeline file names another.",
)
_CACHE = option(
    "--cache",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The shared cache in this folder.",
)


@click.group("cache", epilog=EPILOG)
def command() -> None:
    """Stored answers: of the shared cache that the pipeline file names, else of the user's cache folder.

    What lies in an output folder is that output's own, and is not touched.
    """


@command.command("dir", epilog=EPILOG)
@_CACHE
@_USER
@common
@click.pass_context
def folder(ctx: click.Context, /, **options: Any) -> int:
    """Print the folder."""
    from pipeline.writers import dump

    output, chosen = output_of(ctx), _chosen(ctx, **options)
    told = {"folder": str(chosen.folder), "shared": chosen.shared is not None}
    output.data(dump(told) if output.json else str(chosen.folder))
    return 0


@command.command("size", epilog=EPILOG)
@_CACHE
@_USER
@common
@click.pass_context
def size(ctx: click.Context, /, **options: Any) -> int:
    """Print how many answers there are, their bytes on disk, and since when.

    Exit code 4 where the cache is damaged or can't be read.
    """
    from pipeline.writers import dump

    output, chosen = output_of(ctx), _chosen(ctx, **options)
    held = chosen.held()
    limit = chosen.shared.size if chosen.shared else None
    if output.json:
        told = {"folder": str(chosen.folder), "answers": held.answers, "bytes": held.bytes}
        output.data(dump(told | {"oldest": _day(held.oldest), "limit_bytes": limit}))
        return 0
    since = f", the oldest of {_day(held.oldest)}" if held.oldest else ""
    most = f" of {_bytes(limit)}" if limit else ""
    output.data(f"{held.answers:,} answers, {_bytes(held.bytes)}{most}{since}")
    return 0


@command.command("clean", epilog=EPILOG)
@option("--older-than", metavar="TIME", help="Answers bought before that: 12h, 30d, 2 weeks.")
@option("--all", "everything", is_flag=True, help="All answers.")
@option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@_CACHE
@_USER
@common
@click.pass_context
def clean(ctx: click.Context, /, older_than: str | None, **options: Any) -> int:
    """Take answers away: old ones, all, or of a shared cache what is beyond the limits of the pipeline file.

    What a running process uses of the user's own cache stays; of a shared one it has copies. What goes is asked
    and paid again when it is needed next. Exit code 4 where the cache can't be written.
    """
    from pipeline.config.shared import seconds_of
    from pipeline.errors import UsageError
    from pipeline.writers import dump

    everything, dry = options.pop("everything"), options.pop("dry_run")
    output, chosen = output_of(ctx), _chosen(ctx, **options)
    age = seconds_of(older_than, "--older-than")
    if everything and age is not None:
        raise UsageError("--all or --older-than, not both")
    has_limits = chosen.shared and (chosen.shared.size or chosen.shared.age)
    if not everything and age is None and not has_limits:
        raise UsageError(f"{chosen.folder} has no limits: say --older-than 30d, or --all")
    before = time.time() if everything else None if age is None else time.time() - age
    found = (chosen.beyond if dry else chosen.clean)(before, everything=everything)
    if output.json:
        told = {"folder": str(chosen.folder), "answers": found.answers, "bytes": found.bytes}
        output.data(dump(told | {"removed": not dry}))
        return 0
    what = "would go" if dry else "removed"
    output.data(f"{found.answers:,} answers {what}, {_bytes(found.bytes)} ({chosen.folder})")
    return 0


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The folder that a call is about; `shared` where it is a shared cache."""

    folder: Path
    shared: "Cache | None"

    def held(self) -> "Held":
        """What it holds."""
        from pipeline.ledger.tidying import held_in

        return (
            held_in(self.folder)
            if self.shared is None
            else self._told(lambda commons: commons.held(), look=True)
        )

    def beyond(self, before: float | None, *, everything: bool) -> "Held":
        """What `clean` would remove."""
        from pipeline.ledger.tidying import held_in

        if self.shared is None:
            return held_in(self.folder, None if everything else before)
        return self._told(lambda commons: commons.beyond(before), look=True)

    def clean(self, before: float | None, *, everything: bool) -> "Held":
        """Remove answers; `everything` takes a damaged file too."""
        from pipeline.ledger.commons import remove
        from pipeline.ledger.tidying import clean as clean_stored

        if self.shared is None:
            return clean_stored(self.folder, None if everything else before)
        if everything:
            found = self._told(lambda commons: commons.beyond(before), look=True, bad=True)
            if remove(self.folder):
                return found
        return self._told(lambda commons: commons.clean(before), look=not self.folder.exists())

    def _told(self, work: "Callable[[Commons], Held]", *, look: bool, bad: bool = False) -> "Held":
        """The outcome of some work on the shared cache.

        Raises:
            StateError: it is damaged, or can't be read or written; unless it may be `bad`.

        """
        from pipeline.errors import StateError
        from pipeline.ledger import Commons

        size, age = (self.shared.size, self.shared.age) if self.shared else (None, None)
        commons = Commons(self.folder, size=size, age=age, read_only=look)
        found = work(commons)
        commons.close()
        if commons.trouble and not bad:
            raise StateError(commons.trouble)
        return found


def _chosen(ctx: click.Context, /, *, cache: str | None, user: bool) -> _Chosen:
    """The folder that is meant.

    Raises:
        ConfigError: the pipeline file is wrong. UsageError: two folders are named.

    """
    from pipeline.cli.setup import call_of
    from pipeline.config import cache_folder, read_file
    from pipeline.config.shared import of_file
    from pipeline.errors import UsageError

    if cache and user:
        raise UsageError("--cache or --user, not both")
    call = call_of(ctx)
    shared = None if user else of_file(read_file(call), call.file, cache)
    return _Chosen(shared.folder if shared else cache_folder(), shared)


def _day(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.2f} GB"

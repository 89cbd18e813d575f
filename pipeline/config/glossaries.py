"""Glossaries in files: CSV with a term and its translation in each row, or TOML with terms as keys."""

import csv
import io
import tomllib
from pathlib import Path

from pipeline.errors import ConfigError

#: Characters of a file at the most: some hundred thousand terms.
_LONGEST = 10_000_000


def read_glossary(file: Path) -> dict[str, str]:
    """The terms of a file, each with its translation.

    A row of CSV has the term first and the translation second, after a comma, a semicolon or a tab; further columns and
    empty rows are passed over. TOML has the pairs at its top.

    Raises:
        ConfigError: it can't be read, or a term has no translation, or two.

    """
    try:
        text = file.read_text("utf-8-sig")
        if len(text) > _LONGEST:
            raise ConfigError(f"glossary {file}: it has more than {_LONGEST:,} characters")
        pairs = _of_toml(text) if file.suffix.lower() == ".toml" else _of_csv(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise ConfigError(f"glossary {file}: {error}") from error
    found: dict[str, str] = {}
    for term, to in pairs:
        if not term or not to:
            raise ConfigError(
                f"glossary {file}: {term or to!r} stands alone; a term and its translation are wanted"
            )
        if found.setdefault(term, to) != to:
            raise ConfigError(
                f"glossary {file}: {term!r} has two translations, {found[term]!r} and {to!r}"
            )
    return found


def _of_toml(text: str) -> list[tuple[str, str]]:
    told = tomllib.loads(text)
    return [(term, to if isinstance(to, str) else "") for term, to in told.items()]


def _of_csv(text: str) -> list[tuple[str, str]]:
    first = text.partition("\n")[0]
    delimiter = max((",", ";", "\t"), key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [(row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in rows if any(row)]

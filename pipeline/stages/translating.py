"""The task `translate`: which settings it takes, and what every question of such a stage says."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, get_args

from pipeline.errors import UsageError
from pipeline.stages.tasks import Keep

if TYPE_CHECKING:
    from pipeline.stages import Stage

#: A language tag in the usual forms of BCP 47 (RFC 5646, 2.1): language, script, region, variants; no private ones.
_TAG: Final = re.compile(
    r"[a-z]{2,3}(?:-[a-z]{3}){0,3}(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?(?:-(?:[a-z0-9]{5,8}|\d[a-z0-9]{3}))*",
    re.IGNORECASE,
)

_KEEP: Final[Mapping[Keep, str]] = {
    "numbers": "Every number keeps all its digits, and stays in digits; its decimal and grouping signs may follow the "
    "target language. A number that is written as a word stays a word.",
    "codes": "Whatever has letters and digits in one (article and order numbers, standards), IBANs and addresses of web and "
    "mail are copied character by character.",
    "placeholders": "Placeholders are copied character by character, each as often as it stands there: {name}, {{x}}, ${X}, "
    "%s, %(x)d, :id, and tags like <b>.",
}
_WHOLE: Final = "text is the translation of the whole text. Marks like <page 1 ...> are no part of it: leave them out."
_LANGUAGE: Final = (
    "source_language is the language that the text is in before, as a BCP 47 tag: de, pt-BR."
)
_LIST: Final = (
    "The document is a JSON object of texts by key. Return every key of it once in texts, in the same order, with "
    "the translation of its text as text. Each text stands for itself: no two are joined, and none is left out. "
    "A text that is in {to} already, or has nothing to translate, is returned as it stands."
)


def check(stage: "Stage") -> None:
    """Refuse what a stage that translates can't do.

    Raises:
        UsageError: says what is wrong.

    """
    told = f"stage {stage.name}: "
    if not stage.to:
        raise UsageError(f'{told}translate needs a language: to = "en"')
    for name in ("to", "source_language"):
        tag = getattr(stage, name)
        if tag is not None and not (isinstance(tag, str) and _TAG.fullmatch(tag)):
            raise UsageError(f"{told}{name} {tag!r} is no language tag as in BCP 47: en, de, pt-BR")
    if stage.source_language and same_language(stage.source_language, stage.to):
        raise UsageError(
            f"{told}source_language {stage.source_language} is the language that it translates to"
        )
    if unknown := [each for each in stage.keep if each not in get_args(Keep)]:
        raise UsageError(f"{told}keep {unknown[0]!r} is none of {', '.join(get_args(Keep))}")
    glossary: object = stage.glossary
    if not isinstance(glossary, Mapping) or not all(
        isinstance(word, str) and word.strip() for pair in glossary.items() for word in pair
    ):
        raise UsageError(f"{told}glossary maps each term to its translation, both of them texts")
    if stage.votes > 1:
        raise UsageError(
            f"{told}votes compares values, and no two translations are alike; leave it out"
        )


def same_language(one: str, other: str) -> bool:
    """Whether two tags may name one language: `en` and `en-US` do, `pt-PT` and `pt-BR` do not."""
    first, second = (tag.lower().split("-") for tag in (one, other))
    return all(a == b for a, b in zip(first, second, strict=False))


def words(stage: "Stage") -> str:
    """What every question of a stage that translates says; the same for all its documents."""
    told = [f"Translate into {stage.to} (a BCP 47 tag)."]
    if stage.source_language:
        told[0] += f" The text is in {stage.source_language}."
    if stage.fields:
        told.append(_LIST.format(to=stage.to))
        told.append(f"They are of the fields {', '.join(stage.fields)}.")
    elif stage.source_language:
        told.append(_WHOLE)
    else:
        told += [_WHOLE, _LANGUAGE]
    return "\n".join([*told, *(_KEEP[each] for each in stage.keep)])

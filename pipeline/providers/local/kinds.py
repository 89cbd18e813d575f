"""What a schema's own forms say of a value: its `pattern`, its `examples`, and what a kind rules out."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pipeline import values
from pipeline.providers.local.words import lexicon
from pipeline.values import Found

#: Seconds for one pattern on one text, by the clock: an ordinary one takes microseconds, and a busy machine
#: must not make a difference. A pattern that took longer so many times is not tried any more.
_AT_ONCE, _STRIKES = 0.5, 3
_LONGEST_PATTERN, _LONGEST_EXAMPLE = 300, 80
#: A pattern that takes one of these tells a code from nothing.
_ORDINARY = ("the", "Total", "of this", "12", "2024", "VAT", "a b c d e f")
_ANCHORED = re.compile(r"\^(?:.*[^\\])?\$", re.DOTALL)
#: Kinds that their values show, the most telling first; money and identifiers don't.
_TELLING: tuple[tuple[str, Callable[[str], Iterable[Found[Any]]]], ...] = (
    ("email", values.find_emails),
    ("url", values.find_urls),
    ("doi", values.find_dois),
    ("iban", values.find_ibans),
    ("vat", values.find_vat_ids),
    ("datetime", values.find_instants),
    ("date", values.find_dates),
    ("time", values.find_times),
    ("duration", values.find_durations),
    ("percent", values.find_percentages),
    ("phone", lambda text: values.find_phones(text) if text[:1] == "+" else ()),
)
#: How often a pattern took too long, in this process.
_slow: Counter[str] = Counter()
_RUN = re.compile(r"\d+|[A-Z]+|[a-z]+|.", re.DOTALL)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
#: Words of a code without a digit are short or set in capitals: `PO 88`, `HRB 4711`.
_CODE_WORD = re.compile(r"[^\W\d_]{1,4}\.?|[^a-z]+")
_LONGEST_CODE = 6
#: An abstract or a summary has at least so many words.
_FEWEST_WORDS = 8
#: The name of a way of paying has at most so many.
_MOST_WORDS = 8


def form(schema: Mapping[str, Any]) -> str:
    """A pattern that finds the codes a schema wants, from its `pattern` or `examples`; else empty.

    Only one that tells a code from ordinary words and numbers.
    """
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        known = _ANCHORED.fullmatch(pattern) and len(pattern) <= _LONGEST_PATTERN
        return pattern if known and not any(holds(pattern, word) for word in _ORDINARY) else ""
    shapes = {_shape(example) for example in _examples(schema)}
    shapes.discard("")
    made = f"^(?:{'|'.join(sorted(shapes))})$" if shapes else ""
    return made if made and not any(holds(made, word) for word in _ORDINARY) else ""


def shown(schema: Mapping[str, Any]) -> str:
    """The kind of value that all of a schema's examples show, or an empty text."""
    told = {_kind_of(example) for example in _examples(schema)}
    return told.pop() if len(told) == 1 else ""


def shows_iso(schema: Mapping[str, Any]) -> bool:
    """Whether an example is a date in its normal form."""
    return any(re.match(r"\d{4}-\d\d-\d\d(?:$|T)", example) for example in _examples(schema))


def find(pattern: str, text: str) -> Iterator[Found[str]]:
    """Every place of a text that a pattern from `form` takes whole, between blanks or signs."""
    made = _searcher(pattern)
    if made is None or not text or _slow[pattern] >= _STRIKES:
        return
    try:
        for match in made.finditer(text, timeout=_AT_ONCE):
            if code := match.group():
                yield Found(code, match.start(), match.end(), code, frozenset({code}))
    except TimeoutError:
        _slow[pattern] += 1


def conforming(schema: Mapping[str, Any], value: str) -> str | None:
    """A text in the way of writing that a schema's pattern takes: as printed, without blanks, in capitals.

    None where no way is taken; letters and digits are never changed, dropped or added.
    """
    pattern = schema.get("pattern")
    if not isinstance(pattern, str):
        return value
    tight = "".join(value.split())
    bare = "".join(char for char in value if char.isalnum())
    ways = dict.fromkeys((value, tight, value.upper(), tight.upper(), bare, bare.upper()))
    return next((way for way in ways if holds(pattern, way)), None)


def holds(pattern: str, text: str) -> bool:
    """Whether a JSON Schema pattern takes a text; what is no pattern, or too slow, takes none."""
    if _slow[pattern] >= _STRIKES:
        return False
    try:
        return _holds(pattern, text)
    except TimeoutError:
        _slow[pattern] += 1
        return False


@lru_cache(maxsize=4096)
def _holds(pattern: str, text: str) -> bool:
    import regex  # type: ignore[import-untyped]  # it ships no type information

    try:
        return regex.search(pattern, text, timeout=_AT_ONCE) is not None
    except (regex.error, OverflowError):
        return False


def suits(kind: str, value: Any) -> bool:
    """Whether a JSON value can be of a kind: a postcode has a digit, an e-mail address an @."""
    if not isinstance(value, str):
        return True
    rule = _RULES.get(kind)
    return rule is None or rule(value)


@lru_cache(maxsize=64)
def _searcher(pattern: str) -> Any:
    import regex

    try:
        return regex.compile(rf"(?<![\w\-/])(?:{_unanchored(pattern)})(?![\w\-/])")
    except (regex.error, OverflowError):
        return None


def _unanchored(pattern: str) -> str:
    """A pattern without its anchors, which stand for the borders of a value."""
    return re.sub(r"\\.|\[(?:\\.|[^\]])*\]|[\^$]", lambda m: "" if m[0] in "^$" else m[0], pattern)


def _examples(schema: Mapping[str, Any]) -> Iterator[str]:
    given = schema.get("examples")
    for example in given[:20] if isinstance(given, list) else ():
        if isinstance(example, str) and 0 < len(example) <= _LONGEST_EXAMPLE:
            yield example


def _shape(example: str) -> str:
    """The pattern of codes that look like one; empty for what has no digit, or several words."""
    if not any(char.isdigit() for char in example) or example.count(" ") > 1:
        return ""
    return "".join(_run(run) for run in _RUN.findall(example))


def _run(run: str) -> str:
    size = len(run)
    if run.isdigit():
        return rf"\d{{{max(1, size - 1)},{size + 1}}}"
    if run.isascii() and run.isalpha():
        return f"[{'A-Z' if run.isupper() else 'a-z'}]{{{size}}}"
    return re.escape(run)


def _kind_of(example: str) -> str:
    for kind, finder in _TELLING:
        if any(found.text == example.strip() for found in finder(example)):
            return kind
    return ""


def _is_prose(value: str) -> bool:
    return len(value.split()) >= _FEWEST_WORDS


def _has_digit(value: str) -> bool:
    return any(char.isdigit() for char in value)


def _few_digits(value: str) -> bool:
    letters = sum(char.isalpha() for char in value)
    return letters > 1 and sum(char.isdigit() for char in value) < letters


def _no_digits(value: str) -> bool:
    return not _has_digit(value) and sum(char.isalpha() for char in value) > 1


def _is_code(value: str) -> bool:
    words = value.split()
    if len(words) > _LONGEST_CODE or not any(char.isalnum() for char in value):
        return False
    return all(_has_digit(word) or _CODE_WORD.fullmatch(word) for word in words)


def _is_date(value: str) -> bool:
    letters = sum(char.isalpha() for char in value)
    return _has_digit(value) and (
        letters <= 2 or bool(values.find_dates(value)) or len(value) <= 16
    )


def _is_phone(value: str) -> bool:
    return 6 <= sum(char.isdigit() for char in value) <= 24 and sum(map(str.isalpha, value)) <= 6


_RULES: dict[str, Callable[[str], bool]] = {
    "email": lambda value: _EMAIL.fullmatch(value) is not None,
    "phone": _is_phone,
    "postcode": lambda value: _has_digit(value) and len(value) <= 12,
    "country": _no_digits,
    "person": _few_digits,
    "organisation": _few_digits,
    "party": _few_digits,
    "identifier": _is_code,
    "vat": lambda value: _has_digit(value) and _is_code(value),
    "iban": _has_digit,
    "date": _is_date,
    "datetime": _has_digit,
    "time": _has_digit,
    "money": _has_digit,
    "number": _has_digit,
    "percent": _has_digit,
    "year": _has_digit,
    "payment": lambda value: lexicon().is_payment(value) and len(value.split()) <= _MOST_WORDS,
    "prose": _is_prose,
    "duration": lambda value: bool(values.find_durations(value)),
}

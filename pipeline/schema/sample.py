"""Instances of a schema: made at random, the same for the same seed, short and lifelike where that is cheap.

What is made is nearly always valid, but nothing here checks it: constraints may contradict each
other. Whoever asks validates what comes, and asks again.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from itertools import islice
from random import Random
from typing import Any, Final

from pipeline.schema import Schema
from pipeline.schema.dialects.flat import Flat, Json, Seen, TooLarge, merge
from pipeline.schema.patterns import NotMade, text_for

__all__ = ["NotMade", "sample"]

#: Below this depth optional keys are left out and lists are short, so that what holds itself ends.
_DEEP: Final = 5
_DEEPEST: Final = 60
_MOST_PLACES: Final = 20_000
_WORDS: Final = (  # noqa: SIM905, words
    "amber basin cedar delta ember fjord grove harbor indigo juniper kettle lantern meadow nickel "
    "orchard pebble quarry river saffron timber umber valley willow yarrow zephyr"
).split()
_NAMES: Final = (
    "Ada Berg",
    "Noor Haddad",
    "Jonas Keller",
    "Mei Tanaka",
    "Luca Rossi",
    "Ana Duarte",
)
_COMPANIES: Final = ("Harbor Supply Ltd", "Nordlicht GmbH", "Meadow Foods Inc", "Delta Print BV")
#: What a text is called -> what it may say: the first of these words that stands in the name.
_BY_NAME: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("A-1047", "B-2210", "C-0093"),
    "code": ("A-1047", "B-2210"),
    "number": ("2024-0117", "2023-0942", "88213"),
    "no": ("2024-0117", "88213"),
    "postcode": ("04109", "10115", "90210"),
    "zip": ("04109", "10115", "90210"),
    "iban": ("DE89370400440532013000", "GB33BUKB20201555555555"),
    "description": ("Paper A4, 500 sheets", "Freight", "Repair of a pump"),
    "currency": ("EUR", "USD", "GBP"),
    "country": ("DE", "FR", "US", "JP"),
    "city": ("Lisbon", "Oslo", "Leipzig", "Kyoto"),
    "street": ("Harbor Road 12", "Lindenweg 3"),
    "address": ("Harbor Road 12, 04109 Leipzig", "3 Mill Lane, Dover"),
    "phone": ("+49 341 5550123", "+1 202 555 0147"),
    "email": ("ada@example.com", "office@example.org"),
    "url": ("https://example.com/a", "https://example.org/"),
    "vendor": _COMPANIES,
    "supplier": _COMPANIES,
    "company": _COMPANIES,
    "buyer": _COMPANIES,
    "customer": _NAMES,
    "author": _NAMES,
    "name": _NAMES,
}


def sample(schema: Schema, seed: int) -> Any:
    """One instance; the same for the same schema and seed.

    Raises:
        NotMade: no value can be made for a place: it is `false`, a pattern can't be followed, or the
            schema demands itself without end.

    """
    try:
        return _Maker(schema.body, Random(seed)).value(schema.body, (), "", 0)  # noqa: S311, not for secrets
    except TooLarge as error:
        raise NotMade(f"it describes more than {_MOST_PLACES:,} places") from error
    except RecursionError as error:
        raise NotMade("it demands itself without end") from error


class _Maker(Flat):
    """Makes one instance."""

    def __init__(self, root: Mapping[str, Any], random: Random) -> None:
        super().__init__(root, loops=_DEEPEST, depth=_DEEPEST, most=_MOST_PLACES)
        self.random = random

    def value(self, given: Any, seen: Seen, name: str, depth: int) -> Any:
        """A value for a sub-schema; `name` is the key that it stands under."""
        if given is False:
            raise NotMade(f"nothing is allowed at {name!r}")
        if depth > _DEEPEST:
            raise NotMade("it demands itself without end")
        flat, seen = self._chosen(*self.flat(given, seen))
        if "enum" in flat:
            kinds = flat.get("type", [])
            fitting = [v for v in flat["enum"] if not kinds or _kind(v) in _listed(kinds)]
            return self.random.choice(fitting or flat["enum"])
        kind = self._kind(flat)
        if kind == "object":
            return self._object(flat, seen, depth)
        if kind == "array":
            return self._array(flat, seen, name, depth)
        makers: dict[str, Callable[[], Any]] = {
            "string": lambda: self._text(flat, name),
            "boolean": lambda: self.random.random() < 0.5,
            "integer": lambda: self._number(flat, name, whole=True),
            "number": lambda: self._number(flat, name, whole=False),
        }
        return makers[kind]() if kind in makers else None

    def _chosen(self, flat: Json, seen: Seen) -> tuple[Json, Seen]:
        """A flat schema with one of its alternatives, and one side of its `if`, taken."""
        for _ in range(_DEEPEST):
            options = flat.pop("anyOf", None)
            condition = flat.pop("if", None)
            then, other = flat.pop("then", {}), flat.pop("else", {})
            parts: list[Any] = []
            if options:
                possible = [option for option in options if option is not False]
                if not possible:
                    raise NotMade("no alternative is allowed")
                parts.append(self.random.choice(possible))
            if condition is not None and self.random.random() < 0.5:
                parts += [condition, then]
            elif condition is not None:
                parts.append(other)
            if not parts:
                return flat, seen
            for part in parts:
                more, seen = self.flat(part, seen)
                flat = merge(flat, more)
        return flat, seen

    def _kind(self, flat: Json) -> str:
        kinds = _listed(flat.get("type", ()))
        if not kinds:
            kinds = [kind for kind, keys in _TELLING.items() if keys & flat.keys()] or ["string"]
        if "null" in kinds and len(kinds) > 1 and self.random.random() < 0.9:
            kinds = [kind for kind in kinds if kind != "null"]
        return self.random.choice(kinds)

    def _object(self, flat: Json, seen: Seen, depth: int) -> Json:
        properties: Json = flat.get("properties", {})
        wanted = dict.fromkeys(flat.get("required", ()))
        chance = 0.75 if depth < _DEEP else 0.0
        for name, sub in properties.items():
            if sub is not False and self.random.random() < chance:
                wanted[name] = None
        for name, others in {
            **flat.get("dependencies", {}),
            **flat.get("dependentRequired", {}),
        }.items():
            if name in wanted and isinstance(others, list):
                wanted |= dict.fromkeys(others)
        for name in islice(
            self._further_names(flat), max(0, flat.get("minProperties", 0) - len(wanted))
        ):
            wanted[name] = None
        most = flat.get("maxProperties")
        ordered = [
            *(name for name in properties if name in wanted),
            *(n for n in wanted if n not in properties),
        ]
        if most is not None and len(ordered) > most:
            needed = flat.get("required", ())
            ordered = [*needed, *(name for name in ordered if name not in needed)][:most]
        return {name: self.value(self._sub(flat, name), seen, name, depth + 1) for name in ordered}

    def _further_names(self, flat: Json) -> Any:
        """Keys beside the named ones, without end."""
        rest = [
            name for name in flat.get("properties", {}) if flat["properties"][name] is not False
        ]
        yield from (name for name in rest if name not in flat.get("required", ()))
        patterns = list(flat.get("patternProperties", ()))
        names = flat.get("propertyNames", {})
        number = 0
        while True:
            number += 1
            if patterns:
                yield text_for(self.random.choice(patterns), self.random)
            elif isinstance(names, dict) and names:
                yield self._text({key: names[key] for key in names}, "key")
            else:
                yield f"{_WORDS[number % len(_WORDS)]}{number}"

    def _sub(self, flat: Json, name: str) -> Any:
        """The sub-schema of a key."""
        if name in flat.get("properties", {}):
            return flat["properties"][name]
        import regex  # type: ignore[import-untyped]  # it ships no type information

        for pattern, sub in flat.get("patternProperties", {}).items():
            if regex.search(pattern, name, timeout=1):
                return sub
        return flat.get("additionalProperties", {"type": "string"})

    def _array(self, flat: Json, seen: Seen, name: str, depth: int) -> list[Any]:
        places = flat.get("prefixItems", [])
        least = max(
            flat.get("minItems", 0), flat.get("minContains", 1) if "contains" in flat else 0
        )
        most = max(least, min(flat.get("maxItems", math.inf), least + 2, 1000))
        if depth < _DEEP and least == 0 and most:
            least = 1
        if depth >= _DEEP:
            most = least
        length = max(
            self.random.randint(int(least), int(most)),
            min(len(places), int(flat.get("maxItems", len(places)))) if depth < _DEEP else 0,
        )
        rest = flat.get("items", {"type": "string"})
        if rest is False:
            length = min(length, len(places))
        made: list[Any] = []
        for number in range(length):
            sub = places[number] if number < len(places) else rest
            if "contains" in flat and number < flat.get("minContains", 1) and number >= len(places):
                sub = {"allOf": [sub, flat["contains"]]}
            made.append(
                self._another(sub, seen, (name, depth), made if flat.get("uniqueItems") else [])
            )
        return made

    def _another(self, sub: Any, seen: Seen, place: tuple[str, int], there: list[Any]) -> Any:
        """An item that is not there yet, if one comes in twenty tries."""
        name, depth = place
        value = self.value(sub, seen, name, depth + 1)
        for _ in range(20):
            if value not in there:
                break
            value = self.value(sub, seen, name, depth + 1)
        return value

    def _number(self, flat: Json, name: str, *, whole: bool) -> int | float:
        low, high = (
            _bound(flat, "minimum", "exclusiveMinimum"),
            _bound(flat, "maximum", "exclusiveMaximum"),
        )
        # Two decimals, like amounts, where nothing else is asked for.
        step = Fraction(str(flat.get("multipleOf", 1 if whole else "0.01")))
        if whole and step.denominator > 1:
            step = Fraction(step.numerator)
        start, end = _range(low, high, step, "year" in name.lower())
        first = math.ceil(start / step)
        last = math.floor(end / step)
        if first * step in _open_ends(flat, "exclusiveMinimum"):
            first += 1
        if last * step in _open_ends(flat, "exclusiveMaximum"):
            last -= 1
        if first > last:
            if "multipleOf" in flat or whole or start > end:
                raise NotMade(f"no number between {low} and {high} fits at {name!r}")
            return float((start + end) / 2)
        value = self.random.randint(first, last) * step
        return (
            int(value)
            if whole or (value.denominator == 1 and self.random.random() < 0.2)
            else float(value)
        )

    def _text(self, flat: Json, name: str) -> str:
        if "pattern" in flat:
            return self._fitted(lambda: text_for(flat["pattern"], self.random), flat)
        if flat.get("format") in _FORMATS:
            return self._fitted(lambda: _FORMATS[flat["format"]](self.random), flat)
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
        stand = set(re.split(r"[^a-z]+", words))
        told = next((texts for word, texts in _BY_NAME.items() if word in stand), None)
        choices = told or [" ".join(pair) for pair in zip(_WORDS, _WORDS[7:], strict=False)]
        text = self.random.choice(list(choices))
        least, most = int(flat.get("minLength", 0)), int(flat.get("maxLength", 1_000_000))
        while len(text) < min(least, 100_000):
            text += f" {self.random.choice(_WORDS)}"
        return text[: max(most, 0)] if most < len(text) else text

    def _fitted(self, make: Callable[[], str], flat: Json) -> str:
        """One of twenty texts, the first whose length fits."""
        text = make()
        for _ in range(20):
            if flat.get("minLength", 0) <= len(text) <= flat.get("maxLength", math.inf):
                break
            text = make()
        return text


#: The keywords that tell a type which is not written.
_TELLING: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset(
        {"properties", "required", "additionalProperties", "patternProperties", "minProperties"}
    ),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "string": frozenset({"format", "pattern", "minLength", "maxLength"}),
}


def _bound(flat: Json, *keys: str) -> Fraction | None:
    values = [
        Fraction(str(flat[key])) for key in keys if key in flat and not isinstance(flat[key], bool)
    ]
    if not values:
        return None
    return max(values) if keys[0] == "minimum" else min(values)


def _range(
    low: Fraction | None, high: Fraction | None, step: Fraction, is_year: bool
) -> tuple[Fraction, Fraction]:
    """Where a number may lie: what is not bounded goes a hundred steps far."""
    far = 100 * max(step, Fraction(1))
    if low is None and high is None:
        return (
            (Fraction(1990), Fraction(2026)) if is_year else (Fraction(1), max(Fraction(500), far))
        )
    if low is None:
        low = (high or Fraction(0)) - far
    return low, low + far if high is None else high


def _open_ends(flat: Json, key: str) -> list[Fraction]:
    value = flat.get(key)
    return [] if value is None or isinstance(value, bool) else [Fraction(str(value))]


def _listed(kinds: Any) -> list[str]:
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _kind(value: Any) -> str:
    names = {
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "number",
        list: "array",
        dict: "object",
    }
    return names.get(type(value), "null")


def _day(random: Random) -> date:
    return date(2023, 1, 1) + timedelta(days=random.randrange(1000))


def _clock(random: Random) -> str:
    return f"{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}"


def _hex(random: Random, digits: int) -> str:
    return f"{random.getrandbits(4 * digits):0{digits}x}"


_FORMATS: Final[Mapping[str, Callable[[Random], str]]] = {
    "date": lambda random: _day(random).isoformat(),
    "date-time": lambda random: f"{_day(random)}T{_clock(random)}Z",
    "time": lambda random: f"{_clock(random)}Z",
    "duration": lambda random: f"P{random.randint(1, 90)}D",
    "email": lambda random: f"{random.choice(_WORDS)}@example.com",
    "idn-email": lambda random: f"{random.choice(_WORDS)}@example.com",
    "hostname": lambda random: f"{random.choice(_WORDS)}.example.com",
    "idn-hostname": lambda random: f"{random.choice(_WORDS)}.example.com",
    "ipv4": lambda random: f"192.0.2.{random.randint(1, 254)}",
    "ipv6": lambda random: f"2001:db8::{_hex(random, 4)}",
    "uri": lambda random: f"https://example.com/{random.choice(_WORDS)}",
    "uri-reference": lambda random: f"/{random.choice(_WORDS)}",
    "iri": lambda random: f"https://example.com/{random.choice(_WORDS)}",
    "iri-reference": lambda random: f"/{random.choice(_WORDS)}",
    "uri-template": lambda random: f"/{random.choice(_WORDS)}/{{id}}",
    "uuid": lambda random: (
        f"{_hex(random, 8)}-{_hex(random, 4)}-4{_hex(random, 3)}-8{_hex(random, 3)}-{_hex(random, 12)}"
    ),
    "json-pointer": lambda random: f"/{random.choice(_WORDS)}/0",
    "relative-json-pointer": lambda random: f"{random.randrange(3)}/{random.choice(_WORDS)}",
    "regex": lambda random: f"^{random.choice(_WORDS)}$",
    "date-time-local": lambda random: f"{_day(random)}T{_clock(random)}",
    "time-local": _clock,
}

"""Moments in a text: a date with its time of day (5 March 2024, 14:30), and the zones of times."""

import re
from bisect import bisect_left
from datetime import date

from pipeline.values.dates import find_dates, find_times
from pipeline.values.found import Found, plain

#: What stands between a date and its time.
_BETWEEN = re.compile(
    r"[\s,;|·\-]{0,4}(?:T|at|um|à|a las|alle ore|alle|ore|om|às|kl\.?|time:?)?[\s:]{0,2}",
    re.IGNORECASE,
)
_LONGEST_BETWEEN = 14
# Abbreviations with one offset: those of RFC 5322 (4.3), and the zones of the European Union in English and German.
_OFFSETS = {
    **dict.fromkeys(("Z", "UTC", "GMT", "UT", "WET"), "Z"),
    **dict.fromkeys(("CET", "MEZ", "WEST"), "+01:00"), **dict.fromkeys(("CEST", "MESZ", "EET"), "+02:00"),
    "EST": "-05:00", "EDT": "-04:00", "CST": "-06:00", "CDT": "-05:00",
    "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
}  # fmt: skip
_ZONE = re.compile(
    rf" ?\(?(?:(?:UTC|GMT) ?)?(?P<sign>[+-])(?P<h>[01]\d):?(?P<m>[0-5]\d)\)?(?!\d)"
    rf"|(?P<short> ?(?:UTC|GMT) ?(?P<s>[+-])(?P<one>\d{{1,2}})(?!\d|:))"
    rf"|(?P<name> ?\(?(?:{'|'.join(sorted(_OFFSETS, key=len, reverse=True))})\b\)?)"
)


def find_instants(text: str, *, day_first: bool | None = None) -> list[Found[str]]:
    """Every date that stands beside a time of day, as `2024-03-05T14:30:00`, with its zone if one is printed.

    `day_first` is how 04/03/2024 is meant (see `find_dates`); nothing is added to what is printed
    but seconds that are nought.
    """
    source = plain(text)
    times = find_zoned_times(text)
    starts = [clock.start for clock in times]
    found = []
    for day in find_dates(text, day_first=day_first):
        at = bisect_left(starts, day.end)
        behind = times[at] if at < len(times) else None
        before = times[at - 1] if at else None
        if behind is not None and _joined(source, day.end, behind.start):
            found.append(_instant(text, day, behind))
        elif before is not None and _joined(source, before.end, day.start):
            found.append(_instant(text, day, before))
    return found


def find_zoned_times(text: str) -> list[Found[str]]:
    """Every time of day as `14:30:00`, with its zone (`Z`, `+01:00`) where one is printed behind it."""
    source = plain(text)
    found = []
    for clock in find_times(text):
        zone, end = _zone(source, clock.end)
        value = f"{clock.value.isoformat('seconds')}{zone}"
        found.append(Found(value, clock.start, end, text[clock.start : end], frozenset({value})))
    return found


def _zone(source: str, end: int) -> tuple[str, int]:
    match = _ZONE.match(source, end)
    if match is None:
        return "", end
    if match["sign"]:
        return f"{match['sign']}{match['h']}:{match['m']}", match.end()
    if match["short"]:
        return f"{match['s']}{int(match['one']):02}:00", match.end()
    return _OFFSETS[match["name"].strip(" ()")], match.end()


def _joined(source: str, start: int, end: int) -> bool:
    return (
        start <= end <= start + _LONGEST_BETWEEN
        and _BETWEEN.fullmatch(source, start, end) is not None
    )


def _instant(text: str, day: Found[date], clock: Found[str]) -> Found[str]:
    start, end = min(day.start, clock.start), max(day.end, clock.end)
    readings = frozenset(f"{reading.isoformat()}T{clock.value}" for reading in day.readings)
    return Found(f"{day.value.isoformat()}T{clock.value}", start, end, text[start:end], readings)

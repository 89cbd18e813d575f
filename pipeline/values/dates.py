"""Dates and times in a text, and every date that a printed one may mean."""

import re
from collections.abc import Callable, Iterator
from datetime import date, time

from pipeline.values.found import Found, masked, plain
from pipeline.values.months import months_of

# Every quantifier is bounded and every pattern starts at a digit or a word's first letter: linear.
_WORD = r"(?P<m>(?:[^\W\d_][\u0300-\u036f]?){3,14})"
_OPEN = r"(?<!\d)(?<!\d[.,/:\-])"
# A year, and a time of day that OCR glued to it (16/04/201816:28).
_YEAR = r"(?P<y>\d{4}|\d{2})(?=(?P<tail>\d{0,2}:\d{2}(?::\d{2})?)|(?!\d))"
_CLOSE = r"(?![./\-]\d)"
_OF = r"(?:\s{0,2}(?:day\s{1,2})?(?:of|de|del|den|d')\s{1,2})?"
_DAY_WORD = re.compile(
    rf"{_OPEN}(?P<d>\d{{1,2}})(?:(?:st|nd|rd|th|er|eme|º|°|o|a|e|de)(?![^\W\d_]))?[\s.,/\-]{{0,3}}{_OF}{_WORD}"
    rf"[\s.,/\-]{{0,3}}(?:(?:de|del|of)\s{{1,2}})?'?{_YEAR}{_CLOSE}",
    re.IGNORECASE,
)
_WORD_DAY = re.compile(
    rf"(?<![^\W\d_]){_WORD}[\s.\-/]{{0,3}}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?"
    rf"(?P<gap>[\s.,'/\-]{{0,3}}){_YEAR}{_CLOSE}",
    re.IGNORECASE,
)
_YEAR_WORD = re.compile(
    rf"{_OPEN}(?P<y>\d{{4}})[\s.,/\-]{{1,3}}{_WORD}[\s.\-/]{{0,3}}(?P<d>\d{{1,2}})(?!\d)"
)
_YEAR_FIRST = re.compile(
    rf"{_OPEN}(?P<y>\d{{4}}) ?(?P<s>[./\-]) ?(?P<m>\d{{1,2}}) ?(?P=s) ?(?P<d>\d{{1,2}})"
    rf"(?=\d\d?:\d\d|(?!\d)){_CLOSE}"
)
_THREE = re.compile(
    rf"{_OPEN}(?P<a>\d{{1,2}}) ?(?P<s>[./\-]) ?(?P<b>\d{{1,2}}) ?(?P=s) ?{_YEAR}{_CLOSE}"
    rf"|{_OPEN}(?P<a2>\d\d) (?P<b2>\d\d) (?P<y2>(?:19|20)\d\d)(?!\d){_CLOSE}"
)
_COMPACT = re.compile(
    r"(?<![\w.,/\-])(?P<y>(?:19|20)\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)(?![\w%]|[.,/\-]\d)"
)
_CJK = re.compile(
    r"(?<!\d)(?:(?P<era>令和|平成|昭和|大正|民國|民国) ?)?(?P<y>\d{1,4}|元) ?[年년] ?"
    r"(?P<m>\d{1,2}) ?[月월] ?(?P<d>\d{1,2})(?!\d)(?: ?[日일号號])?"
)
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925, "大正": 1911, "民國": 1911, "民国": 1911}
_TIME = re.compile(
    r"(?<![\d:.,])(?P<h>[012]?\d)(?:(?P<s>[:.h])(?P<m>[0-5]\d)(?::(?P<sec>[0-5]\d)(?:[.,]\d{1,6})?)?)?"
    r"(?![\d:])(?: ?(?P<half>[ap])\.?m\b\.?)?(?P<word> ?(?:Uhr|h|hrs|heures)\b)?",
    re.IGNORECASE,
)
_CJK_TIME = re.compile(r"(?<!\d)(?P<h>[012]?\d) ?[時时点點시] ?(?P<m>[0-5]\d) ?[分분]")

#: Each way of writing a date: the pattern, and the dates that one match may mean, likeliest first
#: for day before month, with how many characters at its end are a glued time.
_Meaning = Callable[[re.Match[str]], tuple[list[date], int]]


def find_dates(text: str, *, day_first: bool | None = None) -> list[Found[date]]:
    """Every full date (day, month, year) in a text, in order, none overlapping.

    Args:
        text: the text of a page or a part of it.
        day_first: how 04/03/2024 is likeliest meant; None decides by the dates of the same text
            that can be read in only one way, and takes day before month when they don't tell.

    Returns:
        the dates; `readings` holds every meaning, whatever `day_first` says.

    """
    source = plain(text)
    spans: list[tuple[int, int, list[date]]] = []
    for pattern, meaning in _WAYS:
        for match in pattern.finditer(source):
            meant, glued = meaning(match)
            if meant:
                spans.append((match.start(), match.end() - glued, meant))
    spans.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, list[date]]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    if day_first is None:
        day_first = _day_first(source, kept)
    return [
        Found(_likeliest(meant, day_first), start, end, text[start:end], frozenset(meant))
        for start, end, meant in kept
    ]


def date_readings(text: str) -> frozenset[date]:
    """Every date that a printed text may mean: 04/03/2024 is the 4th of March and April 3rd.

    Two-digit years: 00-29 are 20xx, 69-99 are 19xx (as POSIX has it), 30-68 may be both. Of three
    pairs of digits the first may be the year as well as the last (24/03/05).
    """
    return frozenset(reading for found in find_dates(text) for reading in found.readings)


def find_times(text: str) -> list[Found[time]]:
    """Every time of day in a text, also one that OCR glued to a date (16/04/201816:28)."""
    source = plain(text)
    # In an ISO date-time the T joins the time; it is no letter of a word.
    dates = [(f.start, f.end + (source[f.end : f.end + 1] == "T")) for f in find_dates(text)]
    source = masked(source, dates)
    times = [*_clock_times(text, source), *_cjk_times(text, source)]
    return sorted(times, key=lambda found: found.start)


def time_readings(text: str) -> frozenset[time]:
    """Every time of day that a printed text may mean."""
    return frozenset(reading for found in find_times(text) for reading in found.readings)


def _clock_times(text: str, source: str) -> Iterator[Found[time]]:
    for match in _TIME.finditer(source):
        half, word, sign = match["half"], match["word"], match["s"]
        told = sign == ":" or half or (word and (sign or word.strip().lower() != "h"))
        if not told and not (sign in {"h", "H"} and match["m"]):
            continue
        hour = int(match["h"])
        if half:
            if not 1 <= hour <= 12:
                continue
            hour = hour % 12 + (12 if half in "pP" else 0)
        if hour > 23:
            continue
        value = time(hour, int(match["m"] or 0), int(match["sec"] or 0))
        yield Found(value, *match.span(), match_text(text, match), frozenset({value}))


def _cjk_times(text: str, source: str) -> Iterator[Found[time]]:
    for match in _CJK_TIME.finditer(source):
        if int(match["h"]) < 24:
            value = time(int(match["h"]), int(match["m"]))
            yield Found(value, *match.span(), match_text(text, match), frozenset({value}))


def match_text(text: str, match: re.Match[str]) -> str:
    """What stands in the original text where a pattern matched its plain form."""
    return text[match.start() : match.end()]


def _named(match: re.Match[str]) -> tuple[list[date], int]:
    fields = match.groupdict()
    if "gap" in fields and len(match["y"]) == 2 and not set(",'") & set(match["gap"]):
        return [], 0  # `March 3 24`: the 24 is as likely something else
    years, glued = _years(match["y"], fields.get("tail"))
    months = sorted(months_of(match["m"]))
    return _dates((year, month, int(match["d"])) for year in years for month in months), glued


def _year_first(match: re.Match[str]) -> tuple[list[date], int]:
    return _dates([(int(match["y"]), int(match["m"]), int(match["d"]))]), 0


def _three(match: re.Match[str]) -> tuple[list[date], int]:
    a, b, year = (match[name] or match[f"{name}2"] for name in "aby")
    years, glued = _years(year, match["tail"])
    meant = [(y, int(b), int(a)) for y in years] + [(y, int(a), int(b)) for y in years]
    if len(year) - glued == 2 and len(a) == 2:
        meant += [(y, int(b), int(year[:2])) for y in _short_year(int(a))]
    return _dates(meant), glued


def _cjk(match: re.Match[str]) -> tuple[list[date], int]:
    year = 1 if match["y"] == "元" else int(match["y"])
    if match["era"]:
        years = [year + _ERAS[match["era"]]]
    elif len(match["y"]) == 2:
        years = _short_year(year)
    else:
        years = [year]
    return _dates((y, int(match["m"]), int(match["d"])) for y in years), 0


_WAYS: tuple[tuple[re.Pattern[str], _Meaning], ...] = (
    (_YEAR_FIRST, _year_first),
    (_THREE, _three),
    (_DAY_WORD, _named),
    (_WORD_DAY, _named),
    (_YEAR_WORD, _named),
    (_COMPACT, _year_first),
    (_CJK, _cjk),
)


def _years(printed: str, tail: str | None) -> tuple[list[int], int]:
    """The years that two or four digits may mean, and how many of them belong to a glued time."""
    if len(printed) == 2:
        return _short_year(int(printed)), 0
    if tail and tail.startswith(":"):  # 1816:28 is the year 18 and 16:28 o'clock
        if len(tail) > 3 and printed[:2] in {"19", "20"}:  # 2018:16:28 may be either
            return [int(printed), *_short_year(int(printed[:2]))], 0
        return _short_year(int(printed[:2])), 2
    return [int(printed)], 0


def _short_year(year: int) -> list[int]:
    if year < 30:
        return [2000 + year]
    return [1900 + year] if year > 68 else [2000 + year, 1900 + year]


def _dates(candidates: Iterator[tuple[int, int, int]] | list[tuple[int, int, int]]) -> list[date]:
    """The candidates (year, month, day) that the calendar has, in order, once each."""
    found: dict[date, None] = {}
    for year, month, day in candidates:
        if 1000 <= year <= 2999:
            try:
                found[date(year, month, day)] = None
            except ValueError:
                continue
    return list(found)


def _day_first(source: str, spans: list[tuple[int, int, list[date]]]) -> bool:
    """Whether the numeric dates of a text that can be read in one way only put the day first."""
    votes = 0
    for start, end, _ in spans:
        match = _THREE.match(source, start, end)
        if match and match["a"]:
            votes += (int(match["a"]) > 12) - (int(match["b"]) > 12)
    return votes >= 0


def _likeliest(meant: list[date], day_first: bool) -> date:
    if day_first or len(meant) < 2:
        return meant[0]
    first = meant[0]
    swapped = [other for other in meant if (other.day, other.month) == (first.month, first.day)]
    return swapped[0] if swapped else first

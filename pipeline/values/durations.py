"""Durations in a text: 90 days, two (2) years, sechs Monaten, 1 h 30 min, as ISO 8601 (P90D)."""

import re
from decimal import Decimal

from pipeline.values.found import Found, plain
from pipeline.values.months import bare

# The numbers that agreements write out, and the units with the letter that ISO 8601 gives them: in
# English, German, French, Spanish, Italian, Dutch, Portuguese, then what all of them write. Accents
# are compared away.
_NUMBERS = """
1 one a an | ein eine einem einer eines einen | un une | un uno una | un uno una | een | um uma
2 two | zwei zweier | deux | dos | due | twee | dois duas
3 three | drei dreier | trois | tres | tre | drie | três
4 four | vier vierer | quatre | cuatro | quattro | vier | quatro
5 five | fünf | cinq | cinco | cinque | vijf | cinco
6 six | sechs | six | seis | sei | zes | seis
7 seven | sieben | sept | siete | sette | zeven | sete
8 eight | acht | huit | ocho | otto | acht | oito
9 nine | neun | neuf | nueve | nove | negen | nove
10 ten | zehn | dix | diez | dieci | tien | dez
12 twelve | zwölf | douze | doce | dodici | twaalf | doze
14 fourteen | vierzehn | quatorze | catorce | quattordici | veertien | catorze quatorze
15 fifteen | fünfzehn | quinze | quince | quindici | vijftien | quinze
18 eighteen | achtzehn | dix-huit | dieciocho | diciotto | achttien | dezoito
20 twenty | zwanzig | vingt | veinte | venti | twintig | vinte
21 twenty-one | einundzwanzig | vingt-et-un | veintiuno | ventuno | eenentwintig
24 twenty-four | vierundzwanzig | vingt-quatre | veinticuatro | ventiquattro | vierentwintig
28 twenty-eight | achtundzwanzig | vingt-huit | veintiocho | ventotto | achtentwintig
30 thirty | dreißig | trente | treinta | trenta | dertig | trinta
36 thirty-six | sechsunddreißig | trente-six | | trentasei | zesendertig
45 forty-five | fünfundvierzig | quarante-cinq | | quarantacinque | vijfenveertig
48 forty-eight | achtundvierzig | quarante-huit | | quarantotto | achtenveertig
60 sixty | sechzig | soixante | sesenta | sessanta | zestig | sessenta
90 ninety | neunzig | quatre-vingt-dix | noventa | novanta | negentig | noventa
"""
_UNITS = """
Y year years yr yrs | jahr jahre jahren jahres | an ans annee annees | año años | anno anni | jaar jaren | ano anos
M month months | monat monate monaten monats | mois | mes meses | mese mesi | maand maanden | mês meses
W week weeks | woche wochen | semaine semaines | semana semanas | settimana settimane | week weken | semana semanas
D day days nights | tag tage tagen tages werktag werktage werktagen nächte | jour jours | día días | giorno giorni | dag dagen werkdagen | dia dias
TH hour hours hr hrs | stunde stunden std | heure heures | hora horas | ora ore | uur uren | hora horas | h
TM minute minutes mins | minute minuten | minute minutes | minuto minutos | minuto minuti | minuut minuten | minuto minutos | min
TS second seconds | sekunde sekunden | seconde secondes | | | seconden | | sec
"""
_LANGUAGES = frozenset(range(7))
#: Units that are common words elsewhere ("Seite 3 an uns"): what they may stand behind in digits.
_AFTER_DIGITS = {"an": (), "ano": ("1",), "mes": ("1",), "ora": ("1",)}
_WORKING = (
    r"calendar|business|working|full|consecutive|clear|more|further|additional|volle[nr]?|weitere[nr]?"
    r"|ganze[nr]?|aufeinanderfolgende[nr]?|días?|jours?|opeenvolgende|volledige"
)


_ORDER = ("Y", "M", "W", "D", "TH", "TM", "TS")


def _table(lines: str) -> dict[str, tuple[str, frozenset[int]]]:
    """By bare word: the first word of its line, and the languages that it is of."""
    table: dict[str, tuple[str, frozenset[int]]] = {}
    for line in lines.strip().split("\n"):
        meaning, _, words = line.partition(" ")
        for language, column in enumerate(words.split("|")):
            own = frozenset({language}) if language in _LANGUAGES else _LANGUAGES
            for word in map(bare, column.split()):
                table[word] = meaning, own | table.get(word, ("", own))[1]
    return table


def _any_of(lines: str) -> str:
    words = {word for line in lines.split("\n") for word in line.split()[1:]} - {"|"}
    return "|".join(sorted(words, key=len, reverse=True))


_NUMBER_OF, _UNIT_OF = _table(_NUMBERS), _table(_UNITS)
_WORD = r"[^\W\d_]{2,22}(?:-[^\W\d_]{2,6}){0,2}|[aA]"
_PART = re.compile(
    rf"(?<![\w.,/])(?:(?P<digits>\d{{1,4}}(?:[.,]\d)?)|(?P<word>{_WORD})(?:\s{{1,2}}\((?P<again>\d{{1,4}})\))?)"
    rf"[\s\-]{{0,2}}(?:(?:{_WORKING})\s{{1,2}})?(?P<unit>[^\W\d_]{{1,10}})\b",
    re.IGNORECASE,
)
_ISO = re.compile(
    r"(?<!\w)P(?=\d|T\d)(?P<days>(?:\d{1,4}(?:\.\d)?[YMWD]){0,4})"
    r"(?:T(?P<clock>(?:\d{1,5}(?:\.\d)?[HMS]){1,3}))?(?!\w)"
)
#: What joins the two numbers of a range; and the first one before it: "6", "between one", "6 Monate".
_JOIN = re.compile(
    r"(?:(?P<bare>[-—~]|\b(?:or|oder|ou|o|of))|(?P<and>\b(?:and|und|et|y|e|en))"
    r"|\b(?:to|bis|à|a|al|tot|até))\s{0,2}\Z",
    re.IGNORECASE,
)
_BEGUN = re.compile(
    rf"(?<![\w.,/])(?P<between>(?:between|zwischen|entre|tra|fra|tussen)\s{{1,2}})?"
    rf"(?:\d{{1,3}}(?:[.,]\d)?|{_any_of(_NUMBERS)})(?:\s?\([^()]{{1,12}}\))?[\s\-]{{0,2}}"
    rf"(?P<unit>(?:{_any_of(_UNITS)})\b)?\s{{0,2}}\Z",
    re.IGNORECASE,
)
_LONGEST_JOIN = 8
_LONGEST_RANGE = 60
_AMOUNT = re.compile(r"([\d.]+)([A-Z])")
#: Of the parts of an ISO 8601 duration: how many of which base unit each one is.
_SIZES = {
    "days": {"Y": (12, "M"), "M": (1, "M"), "W": (7, "D"), "D": (1, "D")},
    "clock": {"H": (3600, "S"), "M": (60, "S"), "S": (1, "S")},
}
#: Start, end, number and unit.
_Part = tuple[int, int, str, str]
_OPEN_END = re.compile(
    r"\b(?:an? )?(?:indefinite (?:period|term)|indefinitely|unbestimmte[rn]? (?:Zeit|Dauer)|unbefristet"
    r"|dur[ée]e ind[ée]termin[ée]e|(?:tiempo|plazo|duración) indefinid[oa]|tempo indeterminato"
    r"|onbepaalde (?:tijd|duur)|(?:prazo|tempo) indeterminado)\b",
    re.IGNORECASE,
)


def find_durations(text: str) -> list[Found[str]]:
    """Every duration in a text, in order; parts that follow each other (1 h 30 min) are one.

    A range (6 to 12 months) is none. A number in words counts only with a unit of its language.

    `value` is its ISO 8601 form, or an empty text for a time without an end.
    """
    source = plain(text)
    found = [
        Found(m.group(), *m.span(), m.group(), frozenset({m.group()}))
        for m in _ISO.finditer(source)
    ]
    found += [
        Found("", *m.span(), text[slice(*m.span())], frozenset({""}))
        for m in _OPEN_END.finditer(source)
    ]
    wholes: list[list[_Part]] = []
    for part in _parts(source):
        if wholes and _goes_on(source, wholes[-1][-1], part[0], part[3]):
            wholes[-1].append(part)
        else:
            wholes.append([part])
    found += [_whole(text, parts) for parts in wholes if all(number for _, _, number, _ in parts)]
    return sorted(found, key=lambda one: one.start)


def duration_length(text: str) -> tuple[Decimal, Decimal, Decimal] | None:
    """The months, days and seconds of an ISO 8601 duration: P1Y is P12M; None for other texts."""
    match = _ISO.fullmatch(text)
    if not match:
        return None
    sums = {"M": Decimal(), "D": Decimal(), "S": Decimal()}
    for group, sizes in _SIZES.items():
        for number, unit in _AMOUNT.findall(match[group] or ""):
            size, base = sizes[unit]
            sums[base] += Decimal(number) * size
    return sums["M"], sums["D"], sums["S"]


def _parts(source: str) -> list[_Part]:
    """Each number with its unit, in order; the number is empty where both belong to a range."""
    found: list[_Part] = []
    at = 0
    while match := _PART.search(source, at):
        number, unit = _meaning(match)
        if unit and number:
            since = _range_start(source, match.start())
            if since is not None:
                number = ""
                if found and found[-1][1] > since:
                    found[-1] = (*found[-1][:2], "", found[-1][3])
            found.append((match.start(), match.end(), number.replace(",", "."), unit))
            at = match.end()
        else:
            at = match.end("digits") if match["digits"] else match.end("word")
    return found


def _meaning(match: re.Match[str]) -> tuple[str, str]:
    """The number and the unit; both empty where they are of no common language."""
    word = bare(match["unit"])
    unit, of_unit = _UNIT_OF.get(word, ("", frozenset()))
    number, of_number = _NUMBER_OF.get(bare(match["word"] or ""), ("", _LANGUAGES))
    digits = match["digits"] or match["again"]
    if not of_unit & of_number or (not number and digits not in _AFTER_DIGITS.get(word, (digits,))):
        return "", ""
    return digits or number, unit


def _range_start(source: str, end: int) -> int | None:
    """Where the range starts whose second number starts at `end`; None where there is none.

    "6 months or" starts none, as it has its own unit, nor does "3 and" without "between".
    """
    join = _JOIN.search(source, max(0, end - _LONGEST_JOIN), end)
    if not join:
        return None
    begun = _BEGUN.search(source, max(0, join.start() - _LONGEST_RANGE), join.start())
    if not begun or (join["bare"] and begun["unit"]) or (join["and"] and not begun["between"]):
        return None
    return begun.start()


def _goes_on(source: str, last: _Part, start: int, unit: str) -> bool:
    between = source[last[1] : start].strip(" .,")
    return _ORDER.index(last[3]) < _ORDER.index(unit) and between in {
        "",
        "and",
        "und",
        "et",
        "y",
        "e",
        "en",
    }


def _whole(text: str, parts: list[_Part]) -> Found[str]:
    days = "".join(f"{number}{unit}" for _, _, number, unit in parts if len(unit) == 1)
    clock = "".join(f"{number}{unit[1]}" for _, _, number, unit in parts if len(unit) == 2)
    value = f"P{days}{'T' if clock else ''}{clock}"
    start, end = parts[0][0], parts[-1][1]
    return Found(value, start, end, text[start:end], frozenset({value}))

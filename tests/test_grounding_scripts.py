"""Evidence in every script: a value is found at exactly its code points, and with another digit nowhere."""

import string
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.test_grounding import one

#: By script: letters that make words there, and its digits.
SCRIPTS = {
    "han": ("东京株式会社合同金额发票", "0123456789"),
    "kana": ("アイウエカキクケがぎ", "０１２３４５６７８９"),
    "hangul": ("가나다라마바사", "0123456789"),
    "arabic": ("ابتثجحخدذرسشفقكلمنهوي", "٠١٢٣٤٥٦٧٨٩"),
    "persian": ("ابپتچژکگی", "۰۱۲۳۴۵۶۷۸۹"),
    "hebrew": ("אבגדהוזחטיכלמנ", "0123456789"),
    "thai": ("กขคงจฉชซ", "๐๑๒๓๔๕๖๗๘๙"),
    "hindi": ("कखगघचछजझ", "०१२३४५६७८९"),
    "bengali": ("কখগঘচছজঝ", "০১২৩৪৫৬৭৮৯"),
    "cyrillic": ("абвгдежзийклмн", "0123456789"),
    "greek": ("αβγδεζηθικλμν", "0123456789"),
}
#: Vowel signs and tones that stand on the letters.
MARKS = {"hindi": "ािीुू", "thai": "ิีุู", "arabic": "\u064b\u0650", "hebrew": "\u05b7\u05b4"}


@st.composite
def printed(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """A script, a value of words and a number, and lines of other words around it."""
    script = draw(st.sampled_from(sorted(SCRIPTS)))
    letters, digits = SCRIPTS[script]
    marks = MARKS.get(script, "")
    letter = st.builds(str.__add__, st.sampled_from(letters), st.sampled_from(["", *marks]))
    word = st.lists(letter, min_size=2, max_size=6).map("".join)
    number = st.text(st.sampled_from(digits), min_size=2, max_size=6)
    words = draw(st.lists(word, min_size=1, max_size=3))
    value = " ".join([*words, draw(number)])
    return script, value, *(" ".join(draw(st.lists(word, max_size=4))) for _ in "ab")  # type: ignore[return-value]


@given(printed())
def test_a_value_is_found_at_exactly_its_code_points(case: tuple[str, str, str, str]) -> None:
    """In any script, between other words of it, with its own digits or ours."""
    _, value, before, after = case
    text = f"{before}\n{value}\n{after}"
    assume(text.count(value) == 1)
    start = text.index(value)
    own = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in value)
    for said in (
        value,
        own,
        unicodedata.normalize("NFD", value),
        unicodedata.normalize("NFC", value),
    ):
        proof = one(said, text)
        assert (proof.status, proof.start, proof.end) == ("verified", start, start + len(value))


@given(printed(), st.integers(0, 99), st.sampled_from(string.digits))
def test_another_digit_is_nowhere_in_any_script(
    case: tuple[str, str, str, str], place: int, digit: str
) -> None:
    """Nor is it with a quote of the line."""
    _, value, before, after = case
    places = [at for at, char in enumerate(value) if char.isdecimal()]
    at = places[place % len(places)]
    assume(str(unicodedata.decimal(value[at])) != digit)
    wrong = value[:at] + digit + value[at + 1 :]
    text = f"{before}\n{value}\n{after}"
    assert one(wrong, text).status == "not_found"
    assert one(wrong, text, quote=value).status == "not_found"


@pytest.mark.parametrize(
    ("value", "text", "quote"),
    [
        ("شركة النور", "اسم \ufeb7\ufeae\ufedb\ufe94 \ufe8d\ufedf\ufee8\ufeee\ufead", "\ufeb7\ufeae\ufedb\ufe94 \ufe8d\ufedf\ufee8\ufeee\ufead"),
        ("لا شيء", "\ufefb شيء", "\ufefb شيء"),
        ("مُحَمَّد", "السيد مُحَمَّد", "مُحَمَّد"),
        (1234.5, "المجموع ١٬٢٣٤٫٥٠ ريال", "١٬٢٣٤٫٥٠"),
        (1234.5, "جمع ۱۲۳۴٫۵", "۱۲۳۴٫۵"),
        (12500, "合計　１２，５００円", "１２，５００"),
        (3500, "金额：3,500元", "3,500"),
        (25000, "合計 2.5万円", "2.5万"),
        ("2024-03-05", "วันที่ ๕/๓/๒๐๒๔", "๕/๓/๒๐๒๔"),
        ("2024-03-05", "日期：２０２４年３月５日", "２０２４年３月５日"),
        ("2024-03-05", "令和6年3月5日", "令和6年3月5日"),
        (150000, "कुल ₹1,50,000 मात्र", "1,50,000"),
        (125, "राशि १२५ रुपये", "१२५"),
        ("क्षत्रिय", "नाम क्षत्रिय सिंह", "क्षत्रिय"),
        ("น้ำ", "ราคา น้ำ", "น้ำ"),
        ("office", "Our o\ufb03ce in", "o\ufb03ce"),
        ("Rechnung", "Ihre Rech\u00adnung", "Rech\u00adnung"),
        ("Rechnungsbetrag", "Der Rechnungs-\nbetrag ist", "Rechnungs-\nbetrag"),
        ("Straße", "STRASSE 5", "STRASSE"),
        ("Zürich", "in Zu\u0308rich", "Zu\u0308rich"),
        ("חשבונית 1234", "\u200fחשבונית 1234\u200f", "חשבונית 1234"),
        (-218.48, "Avoir (218,48)", "(218,48)"),
        (-218.48, "Gutschrift 218,48-", "218,48-"),
        (-218.48, "Credit \u2212218.48", "\u2212218.48"),
    ],
)  # fmt: skip
def test_the_forms_of_scripts_are_read(value: Any, text: str, quote: str) -> None:
    """Presentation forms, ligatures, marks, digits, separators, soft and hard hyphens of each."""
    proof = one(value, text)
    assert (proof.status, proof.quote) == ("verified", quote)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("שלום עולם", "םלוע םולש"),
        ("חשבונית מס 1234", "1234 סמ תינובשח"),
        ("شركة النور", "رونلا ةكرش"),
    ],
)
def test_right_to_left_text_in_the_order_of_the_eye_is_found(value: str, text: str) -> None:
    """Some PDFs store it from left to right as it is seen; numbers inside keep their order."""
    proof = one(value, f"x\n{text}\ny")
    assert (proof.status, proof.quote) == ("verified", text)
    if "1234" in value:
        assert one(value.replace("1234", "4321"), f"x\n{text}\ny").status == "not_found"

"""Boxes to tick on pictures of pages, drawn here: which are found, which are ticked, what is none."""

from collections.abc import Sequence

import pytest

from pipeline.document import FormField, Page, Word

pytest.importorskip("cv2")

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.ocr import marks

SIZE = 24


class Sheet:
    """A picture that is drawn on, with the words that a recogniser would find."""

    def __init__(self) -> None:
        self.picture = Image.new("L", (900, 700), 245)
        self.draw = ImageDraw.Draw(self.picture)
        self.text = ""
        self.words: list[Word] = []

    def write(self, x: int, y: int, text: str) -> None:
        """Words of a line, each with its box."""
        font = ImageFont.load_default(SIZE)
        for word in text.split(" "):
            wide = int(self.draw.textlength(word, font=font))
            self.draw.text((x, y), word, fill=20, font=font)
            start = len(self.text)
            self.text += f"{word} "
            box = (x / 900, y / 700, (x + wide) / 900, (y + SIZE + 4) / 700)
            self.words.append(Word(start, start + len(word), box, SIZE, 0.9))
            x += wide + 7

    def box(self, x: int, y: int, mark: str = "", side: int = 24) -> None:
        """A box to tick, empty or with a cross, a tick that leaves it, or blacked out."""
        x1, y1 = x + side, y + side
        self.draw.rectangle((x, y, x1, y1), outline=20, width=2)
        if mark == "x":
            self.draw.line((x - 3, y - 4, x1 + 3, y1 + 4), fill=20, width=3)
            self.draw.line((x - 3, y1 + 3, x1 + 4, y - 3), fill=20, width=3)
        elif mark == "v":
            self.draw.line((x + 4, y + 12, x + 10, y1 - 3, x1 + 6, y - 6), fill=20, width=3)
        elif mark == "full":
            self.draw.rectangle((x - 2, y - 2, x1 + 2, y1 + 2), fill=20)

    def circle(self, x: int, y: int, mark: str = "", side: int = 24) -> None:
        """A circle to tick, empty or with a dot."""
        self.draw.ellipse((x, y, x + side, y + side), outline=20, width=2)
        if mark:
            self.draw.ellipse((x + 6, y + 6, x + side - 6, y + side - 6), fill=20)

    def marks(self) -> Sequence[FormField]:
        """What is found."""
        return marks.marks(np.asarray(self.picture), self.words, self.text)

    def found(self) -> dict[str, str]:
        """What is found, by label."""
        return {field.label: field.value for field in self.marks()}


def test_boxes_are_found_with_what_they_stand_for() -> None:
    """Empty, crossed, ticked and blacked out; the words to their right are their labels."""
    sheet = Sheet()
    for row, (mark, label) in enumerate(
        (("", "Erwachsene"), ("x", "Familie"), ("v", "Kinder unter 14"), ("full", "Sonstige"))
    ):
        sheet.box(80, 100 + 60 * row, mark)
        sheet.write(122, 98 + 60 * row, label)
    assert sheet.found() == {
        "Erwachsene": "false",
        "Familie": "true",
        "Kinder unter 14": "true",
        "Sonstige": "true",
    }


def test_a_box_lies_where_it_is_drawn() -> None:
    sheet = Sheet()
    sheet.box(80, 100)
    sheet.write(122, 98, "I agree")
    (field,) = sheet.marks()
    assert field.box == pytest.approx((80 / 900, 100 / 700, 105 / 900, 125 / 700), abs=0.004)
    assert field.kind == "check"
    assert (field.start, field.end) == (0, 0)


def test_the_boxes_of_a_row_share_the_question_before_them() -> None:
    """Its words are their name, so that a yes is not any yes."""
    sheet = Sheet()
    for y, ticked in ((100, 0), (180, 1)):
        sheet.write(40, y - 2, "Fumeur" if y == 100 else "Allergies")
        for at, label in enumerate(("oui", "non")):
            sheet.box(300 + 160 * at, y, "x" if at == ticked else "")
            sheet.write(340 + 160 * at, y - 2, label)
    assert [(field.name, field.label, field.value) for field in sheet.marks()] == [
        ("Fumeur", "oui", "true"),
        ("Fumeur", "non", "false"),
        ("Allergies", "oui", "false"),
        ("Allergies", "non", "true"),
    ]


def test_circles_count_where_one_of_them_is_ticked() -> None:
    sheet = Sheet()
    for at, label in enumerate(("vrouw", "man", "anders")):
        sheet.circle(100 + 200 * at, 100, "dot" if at == 1 else "")
        sheet.write(136 + 200 * at, 98, label)
    assert sheet.found() == {"vrouw": "false", "man": "true", "anders": "false"}


def test_hollow_bullets_are_no_circles_to_tick() -> None:
    sheet = Sheet()
    for row in range(3):
        sheet.circle(60, 100 + 50 * row, side=20)
        sheet.write(100, 98 + 50 * row, "a point that is made")
    assert sheet.found() == {}


def test_letters_cells_of_tables_and_boxes_for_single_letters_are_none() -> None:
    """What looks like a box and can't be ticked gives no field at all."""
    sheet = Sheet()
    sheet.write(40, 40, "DOB BOOK 0800 HOOD D O B")
    for column in range(4):
        for row in range(3):
            x, y = 60 + 40 * column, 120 + 40 * row
            sheet.draw.rectangle((x, y, x + 40, y + 40), outline=20, width=2)
    sheet.write(240, 124, "Table")
    for at, digit in enumerate("97421"):
        sheet.draw.rectangle((60 + 36 * at, 400, 88 + 36 * at, 428), outline=20, width=2)
        sheet.write(67 + 36 * at, 401, digit)
    sheet.write(260, 401, "postcode")
    assert sheet.found() == {}


def test_a_box_without_words_near_it_is_no_field() -> None:
    sheet = Sheet()
    sheet.write(40, 40, "Words that stand far away")
    sheet.box(500, 500, "x")
    assert sheet.found() == {}


def test_a_picture_without_words_has_no_fields() -> None:
    assert marks.marks(np.full((50, 50), 255, np.uint8), [], "") == ()


@pytest.mark.parametrize("degrees", [3.0, -2.0, 90.0, 180.0])
def test_pages_that_are_turned_are_set_level_first(degrees: float) -> None:
    """The fields lie on the page as it is."""
    sheet = Sheet()
    sheet.box(80, 100, "x")
    sheet.write(122, 98, "Newsletter please")
    sheet.box(80, 180)
    sheet.write(122, 178, "Nothing for me")
    turned = sheet.picture.rotate(degrees, expand=True, fillcolor=245)
    there = marks._Turn(sheet.picture.size, turned.size, -degrees)
    words = tuple(
        Word(word.start, word.end, there.box(word.box, None), word.size) for word in sheet.words
    )
    page = Page(1, sheet.text, words, width=turned.width, height=turned.height, turn=degrees)
    found = marks.on_page(turned, page)
    assert [(field.label, field.value) for field in found] == [
        ("Newsletter please", "true"),
        ("Nothing for me", "false"),
    ]
    middle = [(field.box[0] + field.box[2]) / 2 for field in found]
    wanted = [there.box((80 / 900, y / 700, 104 / 900, (y + 24) / 700), None) for y in (100, 180)]
    assert middle == pytest.approx([(box[0] + box[2]) / 2 for box in wanted], abs=0.02)


def test_a_page_full_of_shapes_is_a_drawing() -> None:
    sheet = Sheet()
    sheet.write(40, 10, "Pattern")
    for x in range(20, 880, 34):
        for y in range(60, 680, 34):
            sheet.draw.rectangle((x, y, x + 22, y + 22), outline=20, width=2)
    assert sheet.found() == {}

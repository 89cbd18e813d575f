"""Evidence of numbers with a sign: an amount is found only as it is printed, and a hyphen is not always a sign."""

import pytest

from tests.test_grounding import one


@pytest.mark.parametrize(
    ("printed", "reads"),
    [
        ("-107.33", "-"),
        ("107.33-", "-"),
        ("\u2212107.33", "-"),
        ("-107,33 EUR", "-"),
        ("EUR -107.33", "-"),
        ("-EUR 107.33", "-"),
        # A dash may be meant, or a note's number: both are read.
        ("- 107.33", "+-"),
        ("(107.33)", "+-"),
        # No sign: a range, a code, a long dash.
        ("99.50-107.33", "+"),
        ("A-107.33", "+"),
        ("net\u2014107.33", "+"),
    ],
)
def test_an_amount_is_found_only_with_the_sign_that_it_is_printed_with(
    printed: str, reads: str
) -> None:
    """As a number and as a text; a quote around it changes nothing."""
    text = f"Credit {printed} in all"
    for sign in "+-":
        for value in (float(f"{sign}107.33"), f"{sign}107.33".lstrip("+")):
            wanted = "verified" if sign in reads else "not_found"
            assert one(value, text).status == wanted, value
            assert one(value, text, quote=text).status == wanted, value


def test_a_hyphen_that_may_be_no_sign_proves_neither() -> None:
    """A list's mark and a range: the number without it is a place to look at."""
    assert one(5, "We need\n-5 bolts").status == "ambiguous"
    assert one(5, "pages 3 -5").status == "ambiguous"
    assert one(5, "Change -5 today").status == "not_found"
    assert one(-5, "Change -5 today").status == "verified"

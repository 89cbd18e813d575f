"""One leaf as several answers give it: what each claims, which of them counts, and whether they disagree."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pipeline.evaluation.methods import normal as in_normal_form
from pipeline.results import Evidence, EvidenceStatus, Finding, Severity
from pipeline.validators.messages import shown
from pipeline.values import find_dates
from pipeline.values.pages import spans

#: Where several places are possible, the value stands on the pages all the same: what was asked again because it
#: is suspected may be answered by one that is printed twice.
_WEIGHT: dict[EvidenceStatus, int] = {
    "verified": 4,
    "ambiguous": 3,
    "derived": 2,
    "not_found": 1,
    "absent": 0,
}
#: An answer that mends another is as good as that where both stand on the pages.
_STANDS = 3
_NUMBER = re.compile(r"-?\d{1,400}(?:\.\d{1,400})?", re.ASCII)
_LONGEST_DATE = 60
#: More pages than these don't settle a conflict.
_MOST_PAGES = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """What one answer gives for a leaf.

    `proof` is where it stands; `beside` says that this is not where the rest of its row stands.
    `owns` says that the answer is about the page that it stands on; `covers` are all those pages.
    `newer` counts up with the questions that mend; 0 for the first ones, of which none is newer.
    """

    value: Any
    proof: Evidence | None
    owns: bool
    covers: tuple[int, ...]
    newer: int = 0
    beside: bool = False

    @property
    def weight(self) -> float:
        """How well it is proven."""
        if self.value is None:
            return -1
        status = self.proof.status if self.proof else "not_found"
        return _WEIGHT[status] - 0.5 * self.beside

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages that would show whether it is right."""
        page = self.proof.page if self.proof else None
        return (page,) if page is not None else self.covers

    @property
    def rank(self) -> tuple[Any, ...]:
        """What decides between claims; of two that are equal in all of it the values are too."""
        proof = self.proof or Evidence("", "not_found")
        first = (-(proof.page or 0), -(proof.start or 0), -min(self.covers, default=0))
        return (self.weight, self.owns, self.newer, first, repr(self.value))


def best(claims: Sequence[Claim]) -> Claim:
    """The claim that counts: the better proven; of equals that of the page's owner, then the newer one."""
    return claims[0] if len(claims) == 1 else max(claims, key=lambda claim: claim.rank)


def mended(claims: Sequence[Claim], new: Claim) -> list[Claim]:
    """The claims once a leaf was asked for again: the newer value, unless an earlier one is better proven.

    A null settles nothing. What is settled is one claim.
    """
    if new.value is None:
        return list(claims)
    old = best(claims)
    stands = new.weight >= _STANDS and old.weight <= _WEIGHT["verified"]
    return [new if stands or new.weight >= old.weight else old]


def conflict(
    pointer: str, claims: Sequence[Claim], readable: Collection[int]
) -> tuple[Finding, tuple[int, ...]] | None:
    """The finding that claims differ, and the pages that settle it; None where they agree. Null does not differ.

    The proof settles it where only the kept one stands on its pages, verified, and the others' pages can be
    searched (`readable`): a warning then, and nothing where the kept one is newer. Of a row that was asked for
    again the newer value is settled too where the older one stands elsewhere than its row.
    """
    if len(claims) == 1:
        return None
    taken = best(claims)
    others: dict[Any, Claim] = {}
    for claim in claims:
        form = normal(claim.value)
        differs = claim.value is not None and not agree(form, normal(taken.value))
        if differs and not _mends(taken, claim, readable):
            others[form] = best([claim, others[form]]) if form in others else claim
    if not others:
        return None
    rivals = sorted(others.values(), key=lambda claim: claim.rank, reverse=True)
    told = "; ".join(f"{shown(each.value)} {_where(each)}" for each in rivals[:3])
    pages = _settling((taken, *rivals))
    said = f"answers about different pages disagree: {shown(taken.value)} {_where(taken)}, and is kept; {told}"
    settled = all(_settles(taken, each, readable) for each in others.values())
    severity: Severity = "warning" if settled else "error"
    return Finding("conflict", pointer, said, severity), pages


def _settling(claims: Sequence[Claim]) -> tuple[int, ...]:
    """The pages that claims stand on; where none is found, the first of those that were asked about."""
    found = {claim.proof.page for claim in claims if claim.proof and claim.proof.page is not None}
    asked = {page for claim in claims for page in claim.pages}
    return tuple(sorted(found or asked)[:_MOST_PAGES])


def _mends(taken: Claim, older: Claim, readable: Collection[int]) -> bool:
    """Whether a newer claim that is verified in its place leaves nothing open of an older one."""
    is_proven = taken.weight == _WEIGHT["verified"] and taken.newer > older.newer
    return is_proven and (older.beside or _settles(taken, older, readable))


def _settles(taken: Claim, other: Claim, readable: Collection[int]) -> bool:
    """Whether one claim is verified in its place, and the other stands nowhere on pages that can be searched."""
    return (
        taken.weight == _WEIGHT["verified"]
        and other.weight <= _WEIGHT["not_found"]
        and all(page in readable for page in other.covers)
    )


def _where(claim: Claim) -> str:
    """Where a value stands, or that it was not found on the pages of its answer."""
    page = claim.proof.page if claim.proof else None
    if page is not None:
        return f"stands on page {page}"
    on = f" on {spans(claim.covers)}" if claim.covers else ""
    return f"was not found{on}"


def normal(value: Any) -> Any:
    """What values that mean the same have in common: 12.5 and "12.50", a date in two forms, letters of any case."""
    if isinstance(value, bool) or value is None:
        return value, ""
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)).normalize(), "number"
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return Decimal(text).normalize(), "number"
    dates = find_dates(text) if len(text) <= _LONGEST_DATE else []
    if len(dates) == 1 and dates[0].text == text and len(dates[0].readings) == 1:
        return next(iter(dates[0].readings)), "date"
    return in_normal_form(text), "text"


def agree(one: Any, other: Any) -> bool:
    """Whether two normal forms mean the same; a shorter form of a text does not differ from it, but in digits."""
    if one == other:
        return True
    if one[1] != "text" or other[1] != "text":
        return False
    short, long = sorted((one[0], other[0]), key=len)
    return len(short) >= _STANDS and short in long and _digits(short) == _digits(long)


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdecimal())


def moved(claim: Claim, pointer: str) -> Evidence | None:
    """Its proof at the place that the leaf has now."""
    proof = claim.proof
    return proof if proof is None or proof.pointer == pointer else replace(proof, pointer=pointer)

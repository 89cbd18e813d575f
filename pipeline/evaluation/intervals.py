"""Shares with intervals, when the documents are what was sampled and the leaves of one belong together.

A share is a sum over documents of `part` divided by one of `whole`. Its variance is that of a ratio of
cluster totals (Cochran, Sampling Techniques, 3rd ed. 1977, section 6.3), which a few running sums
give. The interval is Wilson's (1927) with the number of independent leaves that has this variance, and
Student's t for the few documents there are (Korn and Graubard 1998 do the same with another interval).
Where the documents don't differ, all right or a single one, each of them counts as one leaf. Unlike a bootstrap it needs no seed, keeps no document, and does not collapse to a point at 0, 1 or for
a single document.
"""

import math
from dataclasses import dataclass

#: Two-sided 95 % points of Student's t for 1 to 30 degrees of freedom; beyond, a series in 1/df.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
    2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
    2.045, 2.042,
)  # fmt: skip
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """A share in 0..1 with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(part: float, whole: float, *, quantile: float = _Z95) -> Share | None:
    """The share of a whole whose members are independent; None where there is no whole."""
    if whole <= 0:
        return None
    value = part / whole
    z2 = quantile * quantile / whole
    middle = (value + z2 / 2) / (1 + z2)
    half = math.sqrt(value * (1 - value) * z2 + z2 * z2 / 4) / (1 + z2)
    return Share(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)))


class Sums:
    """Running sums over documents of right, gold and given leaves, their squares and products."""

    __slots__ = ("_both", "_documents", "_total", "_with_given", "_with_gold")

    def __init__(self) -> None:
        self._with_gold = self._with_given = self._documents = 0
        self._total = [0, 0, 0]
        self._both = [
            0,
            0,
            0,
            0,
            0,
            0,
        ]  # right², right·gold, right·given, gold², gold·given, given²

    def add(self, right: int, gold: int, given: int) -> None:
        """One document more; one that has neither gold nor given leaves says nothing."""
        if not (gold or given):
            return
        self._documents += 1
        self._with_gold += gold > 0
        self._with_given += given > 0
        total, both = self._total, self._both
        total[0] += right
        total[1] += gold
        total[2] += given
        both[0] += right * right
        both[1] += right * gold
        both[2] += right * given
        both[3] += gold * gold
        both[4] += gold * given
        both[5] += given * given

    def precision(self) -> Share | None:
        """Of the values given, how many are right."""
        return self._share(0, 1, self._with_given)

    def recall(self) -> Share | None:
        """Of the values of gold, how many are right."""
        return self._share(1, 0, self._with_gold)

    def f1(self) -> Share | None:
        """The harmonic mean of both: right leaves over the mean of gold and given leaves."""
        return self._share(0.5, 0.5, self._documents)

    def _share(self, of_gold: float, of_given: float, documents: int) -> Share | None:
        right, gold, given = self._total
        whole = of_gold * gold + of_given * given
        if not whole:
            return None
        rr, rg, rv, gg, gv, vv = self._both
        share = right / whole
        crossed = of_gold * rg + of_given * rv
        squared = of_gold**2 * gg + 2 * of_gold * of_given * gv + of_given**2 * vv
        spread = rr - 2 * share * crossed + share * share * squared
        independent, quantile = float(documents), _Z95
        if documents > 1 and spread > 1e-9 * rr and 0 < share < 1:
            variance = documents / (documents - 1) * spread / (whole * whole)
            independent = min(whole, share * (1 - share) / variance)
            quantile = _student(documents - 1)
        made = wilson(share * independent, independent, quantile=quantile)
        return made and Share(share, min(share, made.low), max(share, made.high))


def _student(freedom: int) -> float:
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    return _Z95 + (_Z95**3 + _Z95) / (4 * freedom)

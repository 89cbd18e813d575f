"""How many tokens a request will take: the highest number that it can, by what earlier ones took in truth."""

from typing import Final

#: The weight of one answer among those before it.
_WEIGHT: Final = 1 / 32
#: The share that is expected of the very first ones: text is counted by its bytes, and a token has about four
#: of them; of pages and pictures the highest is what they take.
_FIRST: Final = 0.5
#: What is expected above the line: what was too little is corrected too late.
_MARGIN: Final = 1.03


class Expected:
    """A line through (highest, real) numbers of tokens, later ones weighing more; half until one is known.

    A line, not a share: instructions and schema stand in every request, long or short.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._seen = 0
        self._x = self._y = self._xx = self._xy = 0.0

    def of(self, highest: int) -> int:
        """What is expected of a request."""
        if not self._seen:
            return round(highest * _FIRST)
        variance = self._xx - self._x * self._x
        slope = self._y / max(self._x, 1.0)
        if variance > 1e-3 * self._xx:
            slope = max(0.0, (self._xy - self._x * self._y) / variance)
        likely = (self._y + slope * (highest - self._x)) * _MARGIN
        return max(0, min(round(likely), highest))

    def learn(self, highest: int, real: int) -> None:
        """What a request took."""
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        for name, value in (
            ("_x", highest), ("_y", real), ("_xx", highest * highest), ("_xy", highest * real),
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + (value - getattr(self, name)) * weight)

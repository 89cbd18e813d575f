"""Which pages go into one request, and how the answers of several become one.

`cut.py` cuts a document into windows, `merge.py` makes one answer of the pieces, `rest.py` asks again for what a
cut answer leaves open, `flat.py` gives leaves that were asked for side by side the shape of the data,
`votes.py` compares two answers to the same questions. Answers that count as a whole, those of every task but `extract`, are
taken in `whole.py`; `parts.py` has the parts that `split` finds, `translated.py` and `texts.py` have translations.
"""

from pipeline.windows.cut import cut, left_out, refuse_too_long, schema_asked
from pipeline.windows.flat import sparse
from pipeline.windows.merge import merge
from pipeline.windows.parts import out_of_place, parts_of
from pipeline.windows.pieces import Doubt, Lost, Merged, Piece, seen_in
from pipeline.windows.rest import covered, left, rest
from pipeline.windows.translated import asked_anew
from pipeline.windows.translated import kept as kept_of_translation
from pipeline.windows.translated import merged as merged_translation
from pipeline.windows.translated import said as said_of_translation
from pipeline.windows.votes import agreed
from pipeline.windows.whole import whole

__all__ = [
    "Doubt",
    "Lost",
    "Merged",
    "Piece",
    "agreed",
    "asked_anew",
    "covered",
    "cut",
    "kept_of_translation",
    "left",
    "left_out",
    "merge",
    "merged_translation",
    "out_of_place",
    "parts_of",
    "refuse_too_long",
    "rest",
    "said_of_translation",
    "schema_asked",
    "seen_in",
    "sparse",
    "whole",
]

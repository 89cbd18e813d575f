"""Which pages go into one request, and how the answers of several become one.

`cut.py` cuts a document into windows, `merge.py` makes one answer of the pieces, `rest.py` asks again for what a
cut answer leaves open, `flat.py` gives leaves that were asked for side by side the shape of the data,
`votes.py` compares two answers to the same questions.
"""

from pipeline.windows.cut import cut
from pipeline.windows.flat import sparse
from pipeline.windows.merge import merge
from pipeline.windows.pieces import Doubt, Lost, Merged, Piece, seen_in
from pipeline.windows.rest import covered, left, rest
from pipeline.windows.votes import agreed

__all__ = [
    "Doubt",
    "Lost",
    "Merged",
    "Piece",
    "agreed",
    "covered",
    "cut",
    "left",
    "merge",
    "rest",
    "seen_in",
    "sparse",
]

"""How the stages of a pipeline hang together: what each reads of earlier ones, whether it goes ahead, and on what.

`wiring.py` checks the stages against each other before anything is sent, `conditions.py` reads `when`, `naming.py`
finds what a text names of an earlier stage, `known.py` decides for one document, `drawing.py` draws the whole.
"""

from pipeline.graph.drawing import drawn as drawn
from pipeline.graph.drawing import mermaid as mermaid
from pipeline.graph.known import Halt as Halt
from pipeline.graph.known import Known as Known
from pipeline.graph.known import chosen as chosen
from pipeline.graph.known import given as given
from pipeline.graph.known import halt as halt
from pipeline.graph.known import items as items
from pipeline.graph.naming import asked as asked
from pipeline.graph.naming import pairs as pairs
from pipeline.graph.naming import reads as reads
from pipeline.graph.naming import scopes as scopes
from pipeline.graph.wiring import wired as wired

"""The answer to a question: stored, or bought and stored first; by whichever way leads to one.

`asker.py` asks one request of one endpoint, `calls.py` runs the functions that a model asks for, `ways.py`
takes the endpoints in their order and says less of the schema where a service refuses it. Short documents share
requests: `packs.py` collects them, `packing.py` makes one request of several and divides its answer; above
the Asker nobody knows of that. `telling.py` is how an answer is told.
"""

from pipeline.asking.asker import Asker
from pipeline.asking.contexts import Beside
from pipeline.asking.telling import UnusableError
from pipeline.asking.ways import Answered, Question, Ways, request

__all__ = ["Answered", "Asker", "Beside", "Question", "UnusableError", "Ways", "request"]

"""The answer to a question: stored, or bought and stored first; by whichever way leads to one.

`asker.py` asks one request of one endpoint, `calls.py` runs the functions that a model asks for, `ways.py`
takes the endpoints in their order and says less of the schema where a service refuses it.
"""

from pipeline.asking.asker import Asker, UnusableError
from pipeline.asking.ways import Answered, Question, Ways, request

__all__ = ["Answered", "Asker", "Question", "UnusableError", "Ways", "request"]

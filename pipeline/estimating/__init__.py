"""What a run would ask and cost, before it asks: the same inputs, the same requests, nothing sent.

`text.py` has the tokens of a text, `answer.py` those of an answer, `request.py` those of a request,
`packs.py` has those that share one, `walk.py` goes over the inputs, `figures.py` is what comes out.
"""

from pipeline.estimating.figures import Caching, Estimate, Method, Scaled, Share
from pipeline.estimating.walk import Estimator, open_estimator
from pipeline.values.tokens import text_tokens

__all__ = [
    "Caching",
    "Estimate",
    "Estimator",
    "Method",
    "Scaled",
    "Share",
    "open_estimator",
    "text_tokens",
]

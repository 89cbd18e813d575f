"""Results against gold: what is right, missed, misread and made up, by field and overall; and gates on it.

The documents are the sample: intervals (95 %) allow for the leaves of one document being right or
wrong together (intervals.py). A key that gold does not have is not scored; null says that the value is
absent. What counts as right is said in methods.py, which row is which in rows.py, which gold belongs
to which document in matching.py.
"""

from pipeline.evaluation.gates import Gates, compared_with, missed, read_baseline
from pipeline.evaluation.intervals import Share
from pipeline.evaluation.scoring import evaluate
from pipeline.evaluation.shapes import (
    Band,
    Calibration,
    Cost,
    DocumentScore,
    Evaluation,
    EvidenceScore,
    RowScore,
    Score,
    Wrong,
)

__all__ = [
    "Band",
    "Calibration",
    "Cost",
    "DocumentScore",
    "Evaluation",
    "EvidenceScore",
    "Gates",
    "RowScore",
    "Score",
    "Share",
    "Wrong",
    "compared_with",
    "evaluate",
    "missed",
    "read_baseline",
]

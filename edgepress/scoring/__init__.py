"""How right networks are that do not classify: mean average precision of boxes, mean overlap of segmented areas; and how far
two of them find the same. NumPy only."""

from __future__ import annotations

from edgepress.scoring._agreement import AgreementTally
from edgepress.scoring._overlap import MeanOverlap, OverlapTally
from edgepress.scoring._precision import MeanPrecision, PrecisionTally, average_precision

__all__ = [
    "AgreementTally",
    "MeanOverlap",
    "MeanPrecision",
    "OverlapTally",
    "PrecisionTally",
    "average_precision",
]

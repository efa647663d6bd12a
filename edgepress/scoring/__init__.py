"""How right networks are that do not classify: mean average precision of boxes, mean overlap of segmented areas. NumPy only."""

from __future__ import annotations

from edgepress.scoring._overlap import MeanOverlap, OverlapTally
from edgepress.scoring._precision import MeanPrecision, PrecisionTally, average_precision

__all__ = ["MeanOverlap", "MeanPrecision", "OverlapTally", "PrecisionTally", "average_precision"]

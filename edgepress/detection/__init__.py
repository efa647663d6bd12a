"""From what a detector's file gives to boxes: anchors, decoding and non-maximum suppression, beside the exported graph.

NumPy only, for a board does this too. Boxes are x0, y0, x1, y1 in pixels of the network's input; classes count from 0,
without the background. A `Reading` says how the outputs are to be read, and travels with the network to the last file;
`is_ranked`, that rows have no places of their own: the network orders them by scores, so that a rounding swaps some.
"""

from __future__ import annotations

from typing import Union

from edgepress.detection._anchored import Anchored, Level, anchors
from edgepress.detection._boxes import (
    MOST_GROWTH,
    Detections,
    areas,
    clipped,
    decoded,
    intersections,
    overlaps,
    suppressed,
)
from edgepress.detection._gridded import Gridded
from edgepress.detection._listed import Listed
from edgepress.detection._regions import Regions
from edgepress.detection._selection import Measure, Selection

Reading = Union[Anchored, Gridded, Listed, Regions]  # noqa: UP007  a device's Python may be 3.9

__all__ = [
    "MOST_GROWTH",
    "Anchored",
    "Detections",
    "Gridded",
    "Level",
    "Listed",
    "Measure",
    "Reading",
    "Regions",
    "Selection",
    "anchors",
    "areas",
    "clipped",
    "decoded",
    "intersections",
    "overlaps",
    "suppressed",
]

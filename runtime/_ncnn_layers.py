"""What ncnn's layers are called."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgepress.runtime._runner import LayerTime

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")
"""How the types of the layers begin that pnnx's order lets us name after the user's."""
INPUT = "Input"


def layer_time(name: str, type: str, samples_ms: Sequence[float]) -> LayerTime:
    return LayerTime(name, type, statistics.median(samples_ms), (name,) if type.startswith(WEIGHTED) else ())

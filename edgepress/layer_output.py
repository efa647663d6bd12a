"""What one layer of a network gave on its way to the output, under the user's name for it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """`layer` is the user's module (or the operator's own name outside of any), `type` the operator in the words of
    whatever executed it, `value` the real numbers that it gave, samples along the first axis."""

    layer: str
    type: str
    value: np.ndarray

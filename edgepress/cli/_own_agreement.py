"""How far a network agrees with itself where its sums are rounded another way: by more, no file of it can be asked to.

A network may amplify roundings: one that compares, ranks or takes large sines, one whose layers each keep less of a
signal than of what it is off by. There a correct file departs, and its accuracy says what its outputs don't.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from edgepress import graph
from edgepress.errors import VerificationFailed
from edgepress.program import Program
from edgepress.runtime import compare

CHECKS_TYPES = torch.ops.aten._assert_tensor_metadata.default
SAMPLES = 4
"""How many samples it is found on: a figure to set beside another, in no more time than one's patience has."""


def own_sqnr_db(program: Program, arrays: tuple[np.ndarray, ...]) -> float | None:
    """The SQNR of what the program gives in float32, for the first samples, against what it gives in float64, of the output
    that departs most; integers are the same in both. None where an operator of it knows no float64, or
    where it gives no numbers."""
    few = tuple(array[:SAMPLES] for array in arrays)
    precise = _Precise(program.graph_module().double())
    try:
        return compare(lambda *given: graph.run(precise.run, given), program.run, [few]).sqnr_db
    except (RuntimeError, VerificationFailed):
        return None


class _Precise(torch.fx.Interpreter):
    """Computes in float64, what stands between integers too."""

    def run_node(self, n: Node) -> Any:
        return _each(torch.Tensor.double, super().run_node(n))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is graph.QUANTIZE:
            value, scale, zero_point, low, high, dtype = args
            return (value / scale).round().add(zero_point).clamp(low, high).to(dtype)
        if target is graph.DEQUANTIZE:
            value, scale, zero_point, *_ = args
            return (value.double() - zero_point) * scale
        if target is CHECKS_TYPES:
            return None
        if getattr(target, "namespace", "") == graph.QUANTIZE.namespace:
            args = _each(torch.Tensor.float, args)  # they take no float64
        return super().call_function(target, args, kwargs)


def _each(convert: Callable[[torch.Tensor], torch.Tensor], values: Any) -> Any:
    """All real tensors among the values converted."""

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        return convert(tensor) if tensor.is_floating_point() else tensor

    return torch.utils._pytree.tree_map_only(torch.Tensor, converted, values)

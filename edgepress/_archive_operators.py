"""Which operators a `.pt2` may name: those that compute on tensors and numbers, and nothing that opens files.

PyTorch looks a name up attribute by attribute from the `torch` module, where everything can be reached.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # noqa: F401  registers quantized_decomposed

from edgepress._json_grammar import Refused

ON_SHAPES = frozenset(
    [
        f"_operator.{name}"
        for name in [
            "eq",
            "ne",
            "le",
            "ge",
            "lt",
            "gt",
            "neg",
            "pos",
            "mul",
            "add",
            "sub",
            "floordiv",
            "mod",
            "pow",
            "truediv",
            "and_",
            "or_",
        ]
    ]
    + [
        f"torch.{name}"
        for name in ["sym_not", "sym_int", "sym_float", "sym_ite", "sym_max", "sym_min", "sym_sqrt"]
    ]
    + ["math.trunc"]
)
ON_TENSORS = re.compile(r"torch\.ops\.(aten|quantized_decomposed)\.(\w+)\.(\w+)", re.ASCII)
PRIVATE_BUT_USUAL = frozenset({"_assert_scalar", "_assert_tensor_metadata", "_unsafe_view", "_weight_norm"})
"""Private operators that exported graphs hold beside those of PyTorch's core set."""

OPENS_FILES = frozenset({"filename", "path"})
UNSAFE_TYPES = ("Storage", "Stream", "Generator", "__torch__")


def operator(value: Any, place: str) -> None:
    """Refused unless `value` names an operator that is allowed."""
    if type(value) is not str or not _is_allowed(value):
        raise Refused(f"the operator {str(value)[:120]!r}", place)


@cache
def _is_allowed(name: str) -> bool:
    if name in ON_SHAPES:
        return True
    found = ON_TENSORS.fullmatch(name)
    if found is None:
        return False
    namespace, packet_name, overload = found.groups()
    packet = getattr(getattr(torch.ops, namespace), packet_name, None)
    kernel = getattr(packet, overload, None)
    if not isinstance(kernel, torch._ops.OpOverload) or not torch._C._dispatch_has_kernel(kernel._name):
        return False
    if (
        packet_name.startswith("_")
        and torch.Tag.core not in kernel.tags
        and packet_name not in PRIVATE_BUT_USUAL
    ):
        return False
    arguments = kernel._schema.arguments
    return not any(
        argument.name in OPENS_FILES or any(word in str(argument.type) for word in UNSAFE_TYPES)
        for argument in arguments
        if not argument.has_default_value()
    )

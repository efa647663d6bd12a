"""Where zeros may be in a weight: anywhere, in whole blocks, or so many of each group of input channels.

All functions take a weight as rows: outputs x inputs of one output x kernel positions (see _sparse_layers).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

UNSTRUCTURED = "unstructured"


@dataclass(frozen=True)
class Block:
    """Blocks of `outputs` x `inputs` channels at one kernel position go together; 1x1 is unstructured.

    Elsen et al. (2020), Fast Sparse ConvNets: kernels for CPUs gain from blocks of output channels (4x1).
    """

    outputs: int
    inputs: int

    def misfit(self, rows: torch.Tensor) -> str:
        """Why the weight cannot have this pattern, or an empty text."""
        for count, size, side in (
            (rows.shape[0], self.outputs, "output"),
            (rows.shape[1], self.inputs, "input"),
        ):
            if count % size:
                return f"its {count} {side} channels are no multiple of {size}"
        return ""

    def unit_scores(self, saliency: torch.Tensor) -> torch.Tensor:
        """The mean saliency of each block: outputs / block x inputs / block x positions."""
        blocks: torch.Tensor = saliency.unflatten(1, (-1, self.inputs)).unflatten(0, (-1, self.outputs))
        return blocks.mean((1, 3))

    def expand(self, units: torch.Tensor) -> torch.Tensor:
        """A value for each block as the same value for each of its weights."""
        return units.repeat_interleave(self.outputs, 0).repeat_interleave(self.inputs, 1)

    @property
    def unit_size(self) -> int:
        return self.outputs * self.inputs


@dataclass(frozen=True)
class NofM:
    """Of each `group` input channels in a row, at one kernel position, at most `kept` are not zero.

    Input channels, because sparse tensor cores skip along the axis that a product sums over, which a
    convolution walks channels first (Mishra et al., 2021, Accelerating Sparse Deep Neural Networks: 2:4).
    """

    kept: int
    group: int

    def misfit(self, rows: torch.Tensor) -> str:
        """Why the weight cannot have this pattern, or an empty text."""
        inputs = rows.shape[1]
        return f"its {inputs} input channels are no multiple of {self.group}" if inputs % self.group else ""

    @property
    def sparsity(self) -> float:
        return 1 - self.kept / self.group

    def zeros(self, saliency: torch.Tensor, sparsity: float) -> torch.Tensor:
        """True for the least salient of each group. A `sparsity` below the pattern's is that of a step on the
        way: as many of each group as it allows."""
        count = math.floor(min(sparsity, self.sparsity) * self.group + 1e-6)
        groups = saliency.unflatten(1, (-1, self.group))
        order = groups.argsort(dim=2, stable=True)
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, :count], True).flatten(1, 2)


Pattern: TypeAlias = Block | NofM


def parse(text: str) -> Pattern:
    """`unstructured`, `2:4` (N of M), or `4x1` (a block of outputs x inputs). Raises a pydantic error for others."""
    if text == UNSTRUCTURED:
        return Block(1, 1)
    match = re.fullmatch(r"([1-9]\d{0,3})([:x])([1-9]\d{0,3})", text)
    if match is None or (match[2] == ":" and int(match[1]) >= int(match[3])):
        raise PydanticCustomError(
            "pattern", "write unstructured, N:M with N below M (2:4), or a block of outputs x inputs (4x1)"
        )
    first, second = int(match[1]), int(match[3])
    return NofM(first, second) if match[2] == ":" else Block(first, second)


def _checked(text: str) -> str:
    parse(text)
    return text


PatternText = Annotated[str, AfterValidator(_checked)]
"""The pattern as options and recipes have it."""

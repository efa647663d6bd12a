"""Sums of products of few bits as what they are, counts, so that every runtime makes the same of them.

A runtime adds integers. It holds the bias in their step (that of the inputs times that of the weight), and with few bits this
step is no small thing. A bias that is no whole number of steps is rounded when the file is written or loaded; and a sum
next to the threshold of one bit falls to either side, as a runtime rounds. What is in the way of one such bit reaches
all bits behind it: so both are settled here, before any runtime sees them.
"""

from __future__ import annotations

import dataclasses

import torch

from edgepress.compress._quantization.weights import QuantizedWeight

LARGEST_COUNT = 2**22
"""Up to here float32 adds whole numbers of steps, each a little off itself, and is less than half a step off."""


def bias_in_steps(made: QuantizedWeight, bias: torch.Tensor, read: float) -> torch.Tensor:
    """The bias (outputs) in whole steps of a layer whose inputs have the step `read`."""
    step = made.scales.double() * read
    return ((bias.double() / step).round() * step).float()


def counted(
    made: QuantizedWeight, bias: torch.Tensor, read: float, most: int, given: float
) -> tuple[QuantizedWeight, torch.Tensor] | None:
    """The layer, whose output becomes 0 or one step `given`, with scales and bias such that a sum of integers is that
    number of steps, and one or more exactly where the output was beyond half a step: nothing is left to round.

    read: the step of its inputs, whose integers are `most` at most. None where sums may be too large for float32.
    """
    reach = made.values.double().flatten(1).abs().sum(1) * most
    if reach.max() > LARGEST_COUNT:
        return None
    step = made.scales.double() * read
    first = ((given / 2 - bias.double()) / step).floor() + 1
    first = torch.minimum(torch.maximum(first, -reach), reach + 1)  # passed by all sums, and by none
    scales = torch.full_like(made.scales, given / read)
    return dataclasses.replace(made, scales=scales), ((1 - first) * (scales.double() * read)).float()

"""Multiply-accumulates against torch.utils.flop_counter, which counts two operations for each."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgepress import cost
from edgepress.program import Program


class Attention(nn.Module):
    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(8, 3 * 8)
        self.heads = heads

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = self.project(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])


class Products(nn.Module):
    """A matrix product of each kind, one with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.randn(7, 5))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        product = torch.bmm(left, right) + left @ right
        flat = torch.addmm(self.factor[0], product.flatten(0, 1), self.factor)
        return flat.unflatten(0, (-1, 3)) + product @ self.factor


class BatchInTheMiddle(nn.Module):
    """torch's own attention moves the batch away from the first axis and joins it with the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.attention(tokens, tokens, tokens, need_weights=True)[0]


NETWORKS = {
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2), [(4, 20)]),
    "conv2d": (nn.Conv2d(3, 8, 3, padding=1, stride=2), [(3, 17, 15)]),
    "conv2d same": (nn.Conv2d(3, 8, 3, padding="same"), [(3, 9, 9)]),
    "dilated": (nn.Conv2d(3, 8, 3, dilation=2), [(3, 9, 9)]),
    "grouped": (nn.Conv2d(8, 12, 3, groups=4), [(8, 9, 9)]),
    "depthwise": (nn.Conv2d(8, 8, 5, groups=8), [(8, 9, 9)]),
    "conv3d": (nn.Conv3d(2, 4, 3), [(2, 5, 6, 7)]),
    "transposed": (nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1), [(6, 5, 7)]),
    "transposed, grouped": (nn.ConvTranspose2d(6, 4, 3, groups=2), [(6, 5, 7)]),
    "linear": (nn.Linear(6, 4), [(6,)]),
    "linear over tokens": (nn.Linear(6, 4), [(5, 6)]),
    "attention": (Attention(), [(5, 8)]),
    "products": (Products(), [(3, 4), (4, 7)]),
    "batch in the middle": (BatchInTheMiddle(), [(5, 8)]),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_count_is_half_of_the_operations(kind: str) -> None:
    network, shapes = NETWORKS[kind]
    program = Program.capture(network, [torch.randn(2, *shape) for shape in shapes])

    counter = FlopCounterMode(display=False)
    # The counter knows attention by the matrix products it is made of, not as the fused CPU kernel.
    with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        program.module()(*(torch.randn(1, *shape) for shape in shapes))

    measured = cost.measure(program)
    assert 2 * measured.macs == counter.get_total_flops() > 0
    assert measured.uncounted == ()

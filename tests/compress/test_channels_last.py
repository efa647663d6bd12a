"""Inputs with channels innermost: the same numbers come of them, also where a graph views or looks at memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.compress._channels_last import as_it_lies, laid_out
from edgepress.compress._quantization.calibration import observe
from edgepress.compress._quantization.histogram import Histogram
from edgepress.compress._quantization.insert import insert_pairs
from edgepress.compress._quantization.plan import plan
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._reconstruction.walk import Walk
from edgepress.data import Batch
from edgepress.program import Program


class Viewing(nn.Module):
    """Flattens by a view, which asks for the memory order that it was captured with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.conv(pictures).view(pictures.shape[0], -1)


class Striding(nn.Module):
    """Reads its input as it lies in memory."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.as_strided((pictures.shape[0], 75), (75, 1)).clone()


def captured(module: type[nn.Module]) -> tuple[Program, np.ndarray]:
    torch.manual_seed(0)
    program = Program.capture(module(), (torch.randn(2, 3, 5, 5),))
    return program, np.random.default_rng(0).standard_normal((2, 3, 5, 5), np.float32)


@pytest.mark.parametrize("network", [Viewing, Striding])
def test_observing_and_walking_give_what_the_program_gives(network: type[nn.Module]) -> None:
    program, pictures = captured(network)
    module, batch = program.graph_module(), Batch((pictures,))
    output = next(node for node in module.graph.nodes if node.op == "output").all_input_nodes[0]
    (expected,) = program.run(pictures)
    (lane,) = Walk(module, [batch]).lanes
    lane.through(output)
    # The convolution sums in another order.
    assert np.allclose(lane.value(output), expected, atol=1e-6)
    seen = Histogram()
    observe(module, {output: [seen]}, [batch], program.signature)
    assert (seen.minimum, seen.maximum) == pytest.approx((expected.min(), expected.max()), abs=1e-6)


def test_a_pair_is_one_step_of_a_walk() -> None:
    program, pictures = captured(Viewing)
    module = program.graph_module()
    made = plan(module, lambda node: False)
    ranges = {tensor: Range(-1.5, 1.0) for scale in made.scales for tensor in scale.tensors}
    insert_pairs(module, made, ranges)
    output = next(node for node in module.graph.nodes if node.op == "output").all_input_nodes[0]
    (lane,) = Walk(module, [Batch((pictures,))]).lanes
    lane.through(output)
    expected = torch.fx.Interpreter(module).run(torch.from_numpy(pictures))
    # A value in the middle between two integers may go either way.
    assert (lane.value(output) - expected).abs().max() <= Range(-1.5, 1.0).scale * 1.001
    assert (lane.value(output) - expected).abs().mean() < 1e-6


def test_elements_are_read_where_they_lie() -> None:
    module = captured(Viewing)[0].graph_module()
    (laid,) = laid_out(module, (np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),))
    assert not laid.is_contiguous()
    assert as_it_lies(laid).is_contiguous()
    assert sorted(as_it_lies(laid).flatten().tolist()) == list(range(24))

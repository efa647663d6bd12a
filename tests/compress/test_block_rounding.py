"""Layers rounded together: found between two points through which all data flows, and better than one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn
from two_bits import needs_two_bits

from edgepress import compress, convert, graph
from edgepress.compress._quantization import together
from edgepress.compress._quantization.blocks import find_blocks
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import WeightOptions, pairs_fit
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.data import Data
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Stage

LIMIT = 7
PICTURES = tiny_networks.Patches()


class Sum(nn.Module):
    """Two layers that read the same and are added up. All weights, in steps of their layer's scale, end in .4 or .3."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1)
        steps = torch.randint(-LIMIT + 1, LIMIT, (2, 8, 16, 1, 1)) + torch.tensor([0.4, 0.3]).view(
            2, 1, 1, 1, 1
        )
        # The largest says what a step is where all weights are covered.
        steps[:, :, 0] = LIMIT
        self.left.weight.data, self.right.weight.data = steps / LIMIT

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.left(x) + self.right(x)
        return made


class Fires(nn.Module):
    """A chain of two layers, and two modules of a squeeze and an expansion by two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fires = nn.Conv2d(3, 4, 3), nn.Sequential(Fire(), Fire())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fires(torch.relu(self.stem(x)))
        made: torch.Tensor = self.head(x.mean([2, 3]).view(x.size(0), -1))
        return made


class Fire(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.left, self.right = (
            nn.LazyConv2d(4, 1),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.left(x), self.right(x)], 1))


def white(samples: int = 100) -> ArrayData:
    return ArrayData(np.random.default_rng(0).standard_normal((samples, 16, 4, 4)).astype(np.float32))


def applied(program: Program, stage: Stage, *rules: Rule, data: Data = PICTURES) -> Program:
    return compress.apply(program, Recipe((stage,), Rules(rules)), data)


def off(program: Program, made: Program, data: Data = PICTURES) -> float:
    (inputs,) = next(data.batches("evaluate", None)).inputs
    return float(np.square(program.run(inputs)[0] - made.run(inputs)[0]).sum())


def blocks_of(network: type[nn.Module], *left_out: str) -> list[set[str]]:
    """The layers of each block that is found in the float network."""
    program = tiny_networks.capture(network)
    graph_module = program.graph_module()
    nodes = [node for node in graph.operators(graph_module) if node.target in graph.WEIGHTED]
    layers = [Layer(node, Range(0, 1), WeightOptions()) for node in nodes]
    names = {layer: graph.layer_name(layer.node) for layer in layers}
    asked = [layer for layer in layers if names[layer] not in left_out]
    return [{names[layer] for layer in block.layers} for block in find_blocks(graph_module, asked)]


def test_layers_that_are_added_up_make_up_for_each_other() -> None:
    torch.manual_seed(0)
    program, data = Program.capture(Sum(), (torch.zeros(2, 16, 4, 4),)), white()
    alone, both = (
        applied(
            program,
            QuantizeStatic(scheme="w4a8", weight_calibration="minmax", rounding=how, headroom="none"),
            data=data,
        )
        for how in ("gptq", "block")
    )
    # Inputs that know nothing of each other. One by one, all are rounded down and off by 0.7 together; if one of two is
    # rounded up, by 0.3: a share of 0.18 in squares, to which comes the rounding of activations.
    assert off(program, both, data) < 0.4 * off(program, alone, data)


def test_regions_between_two_points_are_blocks_and_small_ones_of_a_module_join() -> None:
    assert blocks_of(tiny_networks.Residual) == [{"first", "second"}]
    assert blocks_of(tiny_networks.Concatenated) == [{"left", "right"}]
    assert blocks_of(Fires) == [
        {f"fires.{number}.{layer}" for layer in ("squeeze", "left", "right")} for number in (0, 1)
    ]


def test_a_block_with_a_layer_that_may_not_be_rounded_is_none() -> None:
    assert blocks_of(Fires, "fires.1.left") == [{"fires.0.squeeze", "fires.0.left", "fires.0.right"}]


def test_what_leaves_a_block_is_better_than_of_its_layers_alone() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    both = applied(program, QuantizeStatic(scheme="w4a8", rounding="block"))
    figures = both.history.steps[-1].results["sqnr_db"]
    assert figures["first"] == figures["second"], "the figures of their block"
    assert figures["first"][1] > figures["first"][0]
    integers = [value for value in both.exported.state_dict.values() if value.dtype == torch.int8]
    assert max(int(value.abs().max()) for value in integers) == LIMIT


def test_what_held_back_samples_do_not_find_better_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    alone = applied(program, QuantizeStatic(scheme="w4a8"))
    few = applied(program, QuantizeStatic(scheme="w4a8", samples=4))
    kept = applied(program, QuantizeStatic(scheme="w4a8", samples=4, rounding="block"))
    assert off(few, kept) == 0, "of four samples none is held back"
    # Pulled towards halves, fractions end anywhere.
    monkeypatch.setattr(together, "PULL", -1e6)
    spoilt = applied(program, QuantizeStatic(scheme="w4a8", rounding="block"))
    assert off(alone, spoilt) == 0


def test_zeros_stay_and_headroom_lasts() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    pruned = applied(program, PruneWeights(sparsity=0.5))
    zeros = pruned.exported.state_dict["second.weight"] == 0
    stored = applied(pruned, QuantizeStatic(rounding="block", headroom="all")).exported.state_dict
    assert zeros.any()
    assert not stored["second.weight"][zeros].any()
    assert pairs_fit(stored["second.weight"]).all()


def test_a_rule_takes_a_layer_out_of_its_block() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    rule = Rule(layer="second", options={"rounding": "gptq"})
    alone = applied(program, QuantizeStatic(scheme="w4a8"))
    assert off(alone, applied(program, QuantizeStatic(scheme="w4a8", rounding="block"), rule)) == 0


def test_weights_alone_are_rounded_by_blocks_as_well() -> None:
    torch.manual_seed(0)
    program, data = Program.capture(Sum(), (torch.zeros(2, 16, 4, 4),)), white()
    alone, both = (
        applied(program, QuantizeWeights(bits=4, rounding=how), data=data) for how in ("gptq", "block")
    )
    assert off(program, both, data) < 0.95 * off(program, alone, data)


@needs_two_bits
def test_weights_of_two_bits_are_three_values_and_take_a_quarter_of_a_byte_in_onnx(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Concatenated)
    two, four = (
        applied(program, QuantizeStatic(scheme=bits, rounding="nearest")) for bits in ("w2a8", "w4a8")
    )
    weights = [value for value in two.exported.state_dict.values() if value.dtype == torch.int8]
    assert set(torch.cat([each.flatten() for each in weights]).tolist()) == {-1, 0, 1}
    sizes = [
        convert.to(made, "onnx", tmp_path / f"{name}.onnx").path.stat().st_size
        for name, made in (("two", two), ("four", four))
    ]
    assert sizes[1] - sizes[0] == pytest.approx(sum(each.numel() for each in weights) / 4, rel=0.1)

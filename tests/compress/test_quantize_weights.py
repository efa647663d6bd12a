from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.quantize_dynamic import QuantizeDynamic
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.data import Data
from edgepress.errors import BadInput, BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Stage


class Words(nn.Module):
    """An embedding with a linear layer behind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(words).mean(1))


def words() -> Program:
    return Program.capture(Words(), (torch.zeros(2, 5, dtype=torch.int64),))


def applied(
    program: Program, *stages: Stage, rules: tuple[Rule, ...] = (), data: Data | None = None
) -> Program:
    return compress.apply(program, Recipe(stages, Rules(rules)), data)


def test_learned_rounding_beats_the_nearest_at_four_bits() -> None:
    program, data = tiny_networks.capture(tiny_networks.Concatenated), tiny_networks.Patches()
    nearest = applied(program, QuantizeWeights(bits=4, rounding="nearest"))
    learned = applied(program, QuantizeWeights(bits=4), data=data)
    inputs = (data.pictures,)
    expected = program.run(*inputs)[0]
    errors = [np.square(made.run(*inputs)[0] - expected).sum() for made in (nearest, learned)]
    assert errors[1] < 0.8 * errors[0]  # seen: about half


@pytest.mark.parametrize("stage", [QuantizeWeights(rounding="nearest"), QuantizeWeights()])
def test_biases_beside_inputs_in_float_stay_what_they_are(stage: Stage) -> None:
    """They are added to floats, in no steps."""
    program = tiny_networks.capture(tiny_networks.Residual)
    made = applied(program, stage, data=tiny_networks.Patches())
    for name in ("stem.bias", "second.bias", "head.bias"):
        assert torch.equal(made.exported.state_dict[name], program.exported.state_dict[name])


def test_groups_lie_nearer_to_outlying_weights() -> None:
    """One large weight a row makes a single scale coarse for all the others."""
    program = words()
    program.exported.state_dict["head.weight"].data[:, 0] = 3.0
    whole, grouped = (
        applied(program, QuantizeWeights(bits=4, group_size=size, rounding="nearest")) for size in (None, 8)
    )
    assert grouped.quantized is not None
    assert (grouped.quantized.name, grouped.precision) == ("w4g", "float32")
    inputs = (np.arange(40).reshape(8, 5) % 20,)
    expected = program.run(*inputs)[0]
    errors = [np.abs(made.run(*inputs)[0] - expected).max() for made in (whole, grouped)]
    assert errors[1] < 0.7 * errors[0]


def test_a_group_that_does_not_divide_a_row_is_left_out() -> None:
    made = applied(words(), QuantizeWeights(group_size=24, rounding="nearest"))
    assert made.quantized is not None
    assert not made.quantized.grouped


def test_a_rule_keeps_a_layer_and_another_gives_it_four_bits() -> None:
    rules = (Rule(layer="stem", skip=True), Rule(layer="second", options={"bits": 4}))
    program = tiny_networks.capture(tiny_networks.Residual)
    made = applied(program, QuantizeWeights(rounding="nearest"), rules=rules)
    assert made.quantized is not None
    assert made.quantized.weight_bits == (4, 8)
    (left,) = made.history.steps[-1].results["left_in_float"]
    assert left == {"layer": "stem", "type": "conv2d", "reason": "a rule says so"}


def test_history_counts_packed_bytes() -> None:
    """Of 20 x 32 and 4 x 32 weights, half a byte each, and of 24 scales."""
    made = applied(words(), QuantizeWeights(bits=4, rounding="nearest"))
    assert made.history.steps[-1].results["weight_bytes"] == 24 * 32 // 2 + 24 * 4


def test_dead_channels_stay_zero() -> None:
    program = words()
    program.exported.state_dict["head.weight"].data[1] = 0.0
    made = applied(program, QuantizeWeights(rounding="nearest"))
    inputs = (np.arange(10).reshape(2, 5),)
    np.testing.assert_array_equal(made.run(*inputs)[0][:, 1], program.run(*inputs)[0][:, 1])


def test_dynamic_ranges_follow_the_input() -> None:
    """A calibrated range would clip what is a thousand times as large; one that is found then does not."""
    program = tiny_networks.capture(tiny_networks.Concatenated)
    made = applied(program, QuantizeDynamic(rounding="nearest"))
    assert (made.precision, made.quantized and made.quantized.name) == ("int8", "w8dynamic")
    inputs = (1000 * program.signature.example(2)[0],)
    expected, got = program.run(*inputs)[0], made.run(*inputs)[0]
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()  # 8 bits, four layers


@pytest.mark.parametrize(
    "again", [QuantizeWeights(), QuantizeDynamic(), QuantizeStatic(), PruneChannels(macs=0.5)]
)
def test_quantized_weights_are_refused_with_the_way_out(again: Stage) -> None:
    made = applied(words(), QuantizeWeights(rounding="nearest"))
    with pytest.raises(UnsupportedModel, match="before the quantization") as refused:
        applied(made, again, data=tiny_networks.Patches())
    assert "start from the float network" in refused.value.hint


def test_a_network_without_weights_is_refused() -> None:
    program = Program.capture(nn.ReLU(), (torch.zeros(2, 4),))
    with pytest.raises(UnsupportedModel, match="No weight"):
        applied(program, QuantizeWeights(rounding="nearest"))


def test_an_embedding_alone_has_nothing_to_round_while_it_runs() -> None:
    program = Program.capture(nn.Embedding(8, 4), (torch.zeros(2, 3, dtype=torch.int64),))
    with pytest.raises(UnsupportedModel, match="multiplies"):
        applied(program, QuantizeDynamic(rounding="nearest"))


def test_dynamic_groups_are_refused() -> None:
    with pytest.raises(BadOption, match="each group"):
        applied(words(), QuantizeDynamic(group_size=8, rounding="nearest"))


def test_samples_with_nan_are_refused() -> None:
    data = tiny_networks.Patches()
    data.pictures[3, 0, 0, 0] = np.nan
    with pytest.raises(BadInput, match="NaN") as refused:
        applied(tiny_networks.capture(tiny_networks.Residual), QuantizeWeights(), data=data)
    assert "sample 3" in refused.value.where


@pytest.mark.parametrize("suffix", ["pt2", "epz"])
def test_saved_and_loaded_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    from edgepress import convert

    made = applied(words(), QuantizeWeights(bits=4, group_size=8, rounding="nearest"))
    path = (
        made.save(tmp_path / "a.pt2").path
        if suffix == "pt2"
        else convert.to(made, "epz", tmp_path / "a").path
    )
    inputs = (np.arange(10).reshape(2, 5),)
    np.testing.assert_array_equal(Program.load(path).run(*inputs)[0], made.run(*inputs)[0])


def test_a_coded_file_needs_at_most_four_bits_a_weight(tmp_path: Path) -> None:
    from edgepress import convert

    torch.manual_seed(0)
    program = Program.capture(nn.Linear(512, 256), (torch.zeros(2, 512),))
    sizes = {}
    for bits in (8, 4):
        made = applied(program, QuantizeWeights(bits=bits, rounding="nearest"))
        sizes[bits] = convert.to(made, "epz", tmp_path / str(bits)).manifest.size_bytes
    saved = sizes[8] - sizes[4]
    # Uniform weights fill 4 bits; what is coded of 8 is nearly 8. 5 % for the tables of the coders.
    assert saved > 0.95 * 512 * 256 * 4 / 8

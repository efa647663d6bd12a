"""Pruning single weights at once: as many zeros as asked for, the least ones, where the pattern and the rules say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, options
from edgepress.compress._sparse.plan import magnitudes
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data import Data
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

LAYERS = ("stem", "first", "second", "head")
TOTAL = 432 + 4608 + 512 + 64
"""The weights of tiny_networks.Residual."""


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


def pruned(program: Program, stage: PruneWeights, *rules: Rule, data: Data | None = None) -> Program:
    return compress.apply(program, Recipe((stage,), Rules(rules)), data)


def weight(program: Program, name: str) -> torch.Tensor:
    return program.exported.state_dict[f"{name}.weight"].detach()


def masks(program: Program, stage: PruneWeights, *rules: Rule) -> dict[str, torch.Tensor]:
    """What the stage would make zero, by layer."""
    found = stage.plan(program, Rules(rules)).zeros(magnitudes(program.graph_module()))
    return {name.removesuffix(".weight"): mask for name, mask in found.items()}


def counts(found: dict[str, torch.Tensor]) -> list[int]:
    return [int(found[name].sum()) if name in found else 0 for name in LAYERS]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.777])
def test_one_threshold_for_all_layers(program: Program, sparsity: float) -> None:
    found = masks(program, PruneWeights(sparsity=sparsity, max_ratio=0.999))
    gone = torch.cat([found[name].flatten() for name in LAYERS])
    before = torch.cat([weight(program, name).abs().flatten() for name in LAYERS])
    assert gone.sum() == round(sparsity * TOTAL)
    assert before[gone].max() <= before[~gone].min()


def test_the_same_share_of_each_layer(program: Program) -> None:
    assert counts(masks(program, PruneWeights(sparsity=0.75, scope="uniform"))) == [324, 3456, 384, 48]


def test_only_what_was_chosen_changes(program: Program) -> None:
    """Biases and norms least of all."""
    stage = PruneWeights(sparsity=0.9)
    found, after = masks(program, stage), pruned(program, stage).exported.state_dict
    for name, value in program.exported.state_dict.items():
        mask = found.get(name.removesuffix(".weight"), torch.zeros(value.shape, dtype=torch.bool))
        assert after[name].equal(value.masked_fill(mask, 0)), name
        assert not after[name][mask].signbit().any(), "a negative zero compresses badly"


def test_a_global_threshold_empties_no_layer() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    with torch.no_grad():
        program.exported.state_dict["head.weight"].mul_(1e-6)
    found = counts(masks(program, PruneWeights(sparsity=0.9, max_ratio=0.95)))
    assert sum(found) == round(0.9 * TOTAL)
    assert found[3] == int(0.95 * 64)


@pytest.mark.parametrize("text", ["2:4", "1:4"])
def test_n_of_m_along_the_input_channels(program: Program, text: str) -> None:
    after = pruned(program, PruneWeights(pattern=text))
    kept = int(text[0])
    for name in ("first", "second", "head"):
        left = weight(after, name).unflatten(1, (-1, 4)).count_nonzero(2)
        assert left.unique().tolist() == [kept], name
    assert weight(after, "stem").equal(weight(program, "stem"))
    results = after.history.steps[-1].results
    assert results["dense"] == {
        "stem": f"its 3 input channels are no multiple of 4, as the pattern {text} needs"
    }
    assert results["sparsity"] == 1 - kept / 4


def test_blocks_go_together(program: Program) -> None:
    """2x3 fits the stem alone, whose 16 x 3 channels at 9 positions are 72 blocks."""
    (mask,) = masks(program, PruneWeights(sparsity=0.5, pattern="2x3")).values()
    zeros = mask.unflatten(1, (-1, 3)).unflatten(0, (-1, 2)).sum((1, 3))
    assert zeros.shape == (8, 1, 3, 3)
    assert zeros.flatten().sort().values.tolist() == [0] * 36 + [6] * 36
    found = masks(program, PruneWeights(sparsity=0.5, pattern="4x1"))
    assert sum(counts(found)) == TOTAL // 2
    assert {n for mask in found.values() for n in mask.unflatten(0, (-1, 4)).sum(1).unique().tolist()} == {
        0,
        4,
    }


def test_rules_for_single_layers(program: Program) -> None:
    stage, rules = (
        PruneWeights(sparsity=0.5),
        (
            Rule(layer="stem", skip=True),
            Rule(layer="second", options={"pattern": "1:4"}),
            Rule(type="linear", options={"sparsity": 0.25}),
        ),
    )
    assert counts(masks(program, stage, *rules)) == [0, 2304, 384, 16]
    assert stage.plan(program, Rules(rules)).dense == {"stem": "a rule leaves it alone"}


def test_figures_are_those_of_the_weights(program: Program) -> None:
    after = pruned(program, PruneWeights(sparsity=0.9))
    results = after.history.steps[-1].results
    left = {f"{name}.weight": int(weight(after, name).count_nonzero()) for name in LAYERS}
    assert {name: layer["nonzero"] for name, layer in results["sparse"].items()} == left
    assert results["nonzero"] == sum(left.values()) == TOTAL - round(0.9 * TOTAL)
    assert results["weights"] == TOTAL
    # 5,616 weights of 4 bytes, a tenth of them left, beside 200 biases and statistics.
    assert results["deflated_bytes"] < 0.25 * results["deflated_bytes_before"]


def test_batch_norms_are_measured_anew_where_there_is_data(program: Program) -> None:
    data = tiny_networks.Patches()
    stage = PruneWeights(sparsity=0.9)
    names = [name for name in program.exported.state_dict if "running" in name]
    with_data, without = pruned(program, stage, data=data), pruned(program, stage)
    off = pruned(program, dataclasses.replace(stage, recalibrate_batch_norm=False), data=data)
    for name in names:
        assert without.exported.state_dict[name].equal(program.exported.state_dict[name])
        assert off.exported.state_dict[name].equal(program.exported.state_dict[name])
        assert not with_data.exported.state_dict[name].equal(program.exported.state_dict[name])


class Awkward(nn.Module):
    """A transposed convolution, a weight that two layers share, one layer called twice, and a bare product."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 8, 2, stride=2, groups=2)
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight
        self.twice = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.up(x).mean(3).transpose(1, 2)
        return self.twice(self.other(self.one(self.twice(rows)))) @ self.table


def test_awkward_layers() -> None:
    torch.manual_seed(0)
    program = Program.capture(Awkward(), (torch.randn(2, 4, 4, 4),))
    after = pruned(program, PruneWeights(sparsity=0.5, scope="uniform"))
    results = after.history.steps[-1].results
    assert results["nonzero"] * 2 == results["weights"] == 64 + 64 + 64
    assert any("matmul is no convolution" in reason for reason in results["dense"].values())
    stored = after.module().state_dict()
    assert stored["one.weight"].equal(stored["other.weight"])
    assert int((stored["one.weight"] == 0).sum()) == 32
    rows = masks(program, PruneWeights(pattern="1:2"))["up"].unflatten(0, (2, 2))
    assert rows.sum(1).unique().tolist() == [1], "its input channels are on the first axis, in groups"


def test_pruning_step_by_step_goes_on_from_the_zeros_there_are(program: Program) -> None:
    half = pruned(program, PruneWeights(sparsity=0.5))
    more = masks(half, PruneWeights(sparsity=0.8))
    assert sum(counts(more)) == round(0.8 * TOTAL)
    assert all(more[name][weight(half, name) == 0].all() for name in LAYERS)
    with pytest.raises(BadOption, match="zero already"):
        pruned(half, PruneWeights(sparsity=0.4))


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 50, "half"])
def test_shares_out_of_range(sparsity: object) -> None:
    with pytest.raises(BadOption, match="sparsity="):
        options.build(PruneWeights, {"sparsity": sparsity})


def test_a_text_that_is_no_pattern() -> None:
    with pytest.raises(BadOption, match=r"pattern='2;4': write unstructured, N:M with N below M \(2:4\)"):
        options.build(PruneWeights, {"pattern": "2;4"})


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (PruneWeights(), "unstructured needs the share"),
        (PruneWeights(pattern="4x1"), "4x1 needs the share"),
        (PruneWeights(sparsity=0.7, pattern="2:4"), "makes 50% of the weights zero, not 70%"),
        (PruneWeights(sparsity=0.99), "more than max_ratio"),
    ],
)
def test_options_that_contradict_each_other(program: Program, stage: PruneWeights, said: str) -> None:
    with pytest.raises(BadOption, match=said):
        pruned(program, stage)


def test_a_rule_that_contradicts_its_pattern(program: Program) -> None:
    rule = Rule(layer="first", options={"sparsity": 0.9})
    with pytest.raises(BadOption, match="2:4 makes 50% of the weights zero, not 90%") as caught:
        pruned(program, PruneWeights(pattern="2:4"), rule)
    assert "first" in caught.value.where


def test_nothing_to_prune_names_every_reason(program: Program) -> None:
    with pytest.raises(UnsupportedModel, match="No weight of this network") as caught:
        pruned(program, PruneWeights(pattern="1:7"))
    for name in ("stem", "first", "second", "head"):
        assert f"{name}: its " in caught.value.where
    with pytest.raises(UnsupportedModel, match="No weight of this network") as caught:
        pruned(program, PruneWeights(sparsity=0.5), Rule(layer="*", skip=True))
    assert "a rule leaves it alone" in caught.value.where
    pool = Program.capture(nn.MaxPool2d(2), (torch.zeros(2, 3, 4, 4),))
    with pytest.raises(UnsupportedModel, match="No weight of this network"):
        pruned(pool, PruneWeights(sparsity=0.5))


def test_a_quantized_network_is_refused_with_the_way_out(program: Program) -> None:
    data = tiny_networks.Patches()
    quantized = compress.apply(program, Recipe((QuantizeStatic(samples=16),)), data)
    with pytest.raises(UnsupportedModel, match="works on float weights") as caught:
        pruned(quantized, PruneWeights(sparsity=0.5))
    assert "before the quantization" in caught.value.hint


def test_the_pattern_survives_a_recipe_file(tmp_path: Path) -> None:
    recipe = Recipe((PruneWeights(pattern="2:4"),))
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    (tmp_path / "bare.yaml").write_text("stages: [{prune_weights: {pattern: 2:4}}]")
    assert Recipe.load(tmp_path / "bare.yaml") == recipe

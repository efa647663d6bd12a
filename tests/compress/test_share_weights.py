"""Weights share values: how many, under which budget, weighed by what, and kept by whatever follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import compress, convert
from edgepress.compress._sharing.inputs import read_inputs
from edgepress.compress._sharing.keep import KeepShared, shared_weights, still_shared
from edgepress.compress._sparse.layers import read_weights
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.share_weights import ShareWeights
from edgepress.data import Data
from edgepress.errors import BadOption, BudgetMissed, UnsupportedModel
from edgepress.history import Value
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.stage import Context, Stage

LAYERS = ("stem.weight", "first.weight", "second.weight", "head.weight")


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def shared(program: Program) -> Program:
    return compress.apply(program, Recipe((PruneWeights(sparsity=0.6), ShareWeights(bits=3))))


def then(program: Program, *stages: Stage, data: Data | None = None, rules: Rules = Rules()) -> Program:
    return compress.apply(program, Recipe(stages, rules), data)


def values(program: Program, name: str) -> torch.Tensor:
    return program.exported.state_dict[name].unique()


def results(program: Program) -> dict[str, Value]:
    return dict(program.history.steps[-1].results)


def test_each_layer_takes_so_many_values_and_keeps_its_zeros(program: Program, shared: Program) -> None:
    pruned = then(program, PruneWeights(sparsity=0.6))
    for name in LAYERS:
        before, after = pruned.exported.state_dict[name], shared.exported.state_dict[name]
        assert torch.equal(before == 0, after == 0)
        assert values(shared, name).count_nonzero() <= 8
    facts = results(shared)["shared"]["first.weight"]
    assert facts == {**facts, "bits": 3, "values": 8, "weights": 4608}
    assert shared.exported.state_dict["stem.bias"].equal(program.exported.state_dict["stem.bias"]), "no data"


def test_what_it_says_of_bytes_is_what_the_file_takes(tmp_path: Path) -> None:
    """Beside the file of the same network whose weights are all zero: the rest of it is the same."""
    torch.manual_seed(0)
    program = Program.capture(torch.nn.Linear(128, 128), (torch.zeros(2, 128),))
    shared = then(program, ShareWeights(bits=4))
    empty = shared.module()
    torch.nn.init.zeros_(empty.get_parameter("weight"))
    sizes = [
        convert.to(one, "epz", tmp_path / f"{number}.epz").manifest.size_bytes
        for number, one in enumerate((shared, shared.replace(empty)))
    ]
    # Half a byte each. A codebook of 16 values takes a few bytes less behind LZMA, the coder's states a few more.
    assert results(shared)["coded_bytes"] == pytest.approx(128 * 128 / 2, rel=0.05)
    assert sizes[0] - sizes[1] == pytest.approx(results(shared)["coded_bytes"], abs=50)


def test_a_size_is_met_and_used(program: Program) -> None:
    for size in (0.2, 0.1):
        told = results(then(program, ShareWeights(size=size)))
        assert 0.93 * size <= told["coded_bytes"] / (4 * told["weights"]) <= size


def test_a_size_below_one_value_for_each_layer_is_refused(program: Program) -> None:
    with pytest.raises(BudgetMissed, match="bytes at least"):
        then(program, ShareWeights(size=0.0005))


def test_every_layer_keeps_its_signal(program: Program) -> None:
    layers = results(then(program, ShareWeights(sqnr_db=20)))["shared"]
    assert all(20 <= facts["sqnr_db"] < 22 for facts in layers.values())


def test_the_sqnr_it_tells_is_that_of_the_outputs() -> None:
    """A single layer on white noise: the inputs are uncorrelated, so the estimate is exact but for chance."""
    torch.manual_seed(0)
    program = Program.capture(torch.nn.Conv2d(8, 16, 3, bias=False), (torch.zeros(2, 8, 16, 16),))
    after = then(program, ShareWeights(bits=3))
    inputs = np.random.default_rng(0).standard_normal((32, 8, 16, 16)).astype(np.float32)
    (want,), (got,) = program.run(inputs), after.run(inputs)
    measured = 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum())
    (facts,) = results(after)["shared"].values()
    assert facts["sqnr_db"] == pytest.approx(measured, abs=0.2)


def test_inputs_that_are_louder_make_their_weights_count_more(program: Program) -> None:
    """With data, the outputs of the whole network are closer to what they were."""
    data = tiny_networks.Patches()
    (inputs,) = next(iter(data.batches("evaluate", None, batch_size=96))).inputs
    want = program.run(inputs)[0]
    errors = []
    for weigh in (True, False):
        stage = ShareWeights(bits=2, weigh_by_inputs=weigh, correct_means=False, fit_outputs=False)
        errors.append(float(np.square(then(program, stage, data=data).run(inputs)[0] - want).sum()))
    assert errors[0] < errors[1]


@pytest.mark.parametrize("network", tiny_networks.NETWORKS, ids=lambda network: network.__name__)
def test_importances_are_mean_squares_of_inputs(network: type[torch.nn.Module]) -> None:
    """Of the first layer they are those of the pictures; a depthwise layer's weights have one input each."""
    program = tiny_networks.capture(network)
    graph_module = program.graph_module()
    layers = read_weights(graph_module).layers
    batches = list(tiny_networks.Patches(32).batches("calibrate", None))
    inputs = read_inputs(graph_module, layers, batches, program.signature)
    found = {name: one.mean_square for name, one in inputs.items()}
    for layer, weight in layers.items():
        assert found[layer.weight].shape == weight.shape
        assert (found[layer.weight] > 0).all()
    first = next(iter(layers))
    channels = np.square(batches[0].inputs[0].astype(np.float64)).mean((0, 2, 3))
    assert found[first.weight][0, :, 0, 0] == pytest.approx(channels, rel=1e-6)
    if network is tiny_networks.Separable:
        depthwise = found["depthwise.0.weight"]
        assert depthwise.shape == (32, 1, 3, 3)
        assert len(np.unique(depthwise)) > 16, "each channel has its own input"


def test_biases_make_up_for_what_is_lost_on_average() -> None:
    """A layer that sees positive pictures: the mean of every output stays, to what padding of none leaves to chance."""
    torch.manual_seed(0)
    program = Program.capture(torch.nn.Conv2d(3, 8, 3), (torch.zeros(2, 3, 16, 16),))
    data = tiny_networks.Patches(32)
    data.pictures = np.abs(data.pictures)
    means = {}
    for correct in (True, False):
        after = then(program, ShareWeights(bits=1, correct_means=correct), data=data)
        means[correct] = np.abs((after.run(data.pictures)[0] - program.run(data.pictures)[0]).mean((0, 2, 3)))
    assert means[True].max() < 0.1 * means[False].max()


@pytest.mark.parametrize(
    "stage",
    [
        FineTune(epochs=2, batch_size=16, learning_rate=0.1),
        FineTune(epochs=1, batch_size=16, optimizer="adamw", average=0.9, learning_rate=0.01),
        Distill(epochs=1, batch_size=16),
    ],
    ids=lambda stage: f"{stage.name()}-{stage.optimizer}",
)
def test_training_moves_the_values_and_keeps_who_shares_them(shared: Program, stage: Stage) -> None:
    after = then(shared, stage, data=tiny_networks.Patches())
    for name in LAYERS:
        before, now = shared.exported.state_dict[name], after.exported.state_dict[name]
        clusters = before.unique(return_inverse=True)[1]
        assert torch.equal(clusters, now.unique(return_inverse=True)[1]) or _same_partition(clusters, now)
        assert torch.equal(before == 0, now == 0)
        assert not now.equal(before), "it has learned"
    assert still_shared(after, after.history) == set(LAYERS)


def _same_partition(clusters: torch.Tensor, values: torch.Tensor) -> bool:
    """Whether weights of one cluster still are equal; two clusters may have crossed or met."""
    return all(len(values[clusters == number].unique()) == 1 for number in clusters.unique())


def test_a_shared_value_follows_the_sum_of_its_gradients() -> None:
    """One step of plain gradient descent against the formula: the mean over the cluster, so the sum over its number."""
    module = tiny_networks.capture(tiny_networks.Residual).module()
    weight = dict(module.named_parameters())["second.weight"]
    with torch.no_grad():
        weight.copy_(torch.where(weight > 0.1, 0.5, torch.where(weight < -0.1, -0.25, 0.0)))
    before, hook = weight.detach().clone(), KeepShared(["second.weight"])
    hook.begin(module, 1)
    weight.grad = torch.linspace(-1, 3, weight.numel()).view_as(weight)
    raw = weight.grad.clone()
    hook.before_step(module, 1)
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    hook.after_step(module, 1)
    for value in (0.5, -0.25):
        mean = raw[before == value].mean()
        assert weight.detach()[before == value].unique().tolist() == [
            pytest.approx(float(value - 0.1 * mean))
        ]
    assert not weight.detach()[before == 0].any()


def test_a_program_from_a_coded_file_goes_on_sharing(shared: Program, tmp_path: Path) -> None:
    loaded = Program.load(convert.to(shared, "epz", tmp_path / "shared.epz").path)
    tuned = then(loaded, FineTune(epochs=1, batch_size=16), data=tiny_networks.Patches())
    assert still_shared(tuned, tuned.history) == set(LAYERS)


@pytest.mark.parametrize(
    ("stage", "undoes"),
    [(QuantizeStatic(samples=16), True), (PruneChannels(macs=0.6), True), (FineTune(epochs=1), False)],
)
def test_a_stage_that_undoes_it_is_named(program: Program, stage: Stage, undoes: bool) -> None:
    shared, said = then(program, ShareWeights(bits=3)), list[str]()
    context = Context(
        original=shared, load_model=lambda text: shared, data=tiny_networks.Patches(), announce=said.append
    )
    (finished,) = compress.stages(shared, Recipe((stage,)), context)
    assert any("undid the shared values" in line for line in said) == undoes
    assert (still_shared(finished.program, finished.program.history) < set(LAYERS)) == undoes


def test_rules_choose_bits_and_skip_layers(program: Program) -> None:
    rules = Rules(
        (
            Rule(type="linear", options={"bits": 6}),
            Rule(layer="stem", skip=True),
            Rule(layer="second", options={"bits": 1}),
        )
    )
    after = then(program, ShareWeights(size=0.2), rules=rules)
    assert {name: facts["bits"] for name, facts in results(after)["shared"].items()}.items() >= {
        "head.weight": 6,
        "second.weight": 1,
    }.items()
    assert after.exported.state_dict["stem.weight"].equal(program.exported.state_dict["stem.weight"])
    assert shared_weights(after.history).keys() == set(LAYERS) - {"stem.weight"}
    assert results(after)["not_shared"] == {"stem": "a rule leaves it alone, or all of it is zero"}


def test_two_budgets_exclude_each_other(program: Program) -> None:
    with pytest.raises(BadOption, match="bits and size exclude each other"):
        then(program, ShareWeights(bits=4, size=0.1))


def test_a_network_without_weights() -> None:
    program = Program.capture(torch.nn.MaxPool2d(2), (torch.zeros(2, 3, 8, 8),))
    with pytest.raises(UnsupportedModel, match="No weight of this network can be shared"):
        then(program, ShareWeights())

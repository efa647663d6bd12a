"""Zeros that change in training: the cubic schedule's values, zeros that move and stay as many, and what they cost."""

from __future__ import annotations

import itertools

import pytest
import tiny_networks
import torch

from edgepress import compress
from edgepress.accuracy import evaluate
from edgepress.compress._sparse.plan import magnitudes
from edgepress.compress._sparse.training import GrowingSparsity, MovingZeros, cosine, cubic
from edgepress.compress._training.hook import TrainingHook
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.prune_weights_gradually import PruneWeightsGradually
from edgepress.errors import BadOption
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules
from edgepress.trainable import Trainable

TOTAL = 432 + 256 + 2304 + 2048
"""The weights of tiny_networks.Concatenated."""
STEPS = 20


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Concatenated)


@pytest.fixture(scope="module")
def data() -> tiny_networks.Patches:
    return tiny_networks.Patches(256)


def steps(hook: TrainingHook, module: Trainable) -> list[dict[str, torch.Tensor]]:
    """The zeros after each of STEPS steps of a random walk in place of a training."""
    random = torch.Generator().manual_seed(0)
    hook.begin(module, STEPS)
    found = []
    for step in range(1, STEPS + 1):
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        hook.before_step(module, step)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 0.01 * parameter.grad
        hook.after_step(module, step)
        found.append({name: value == 0 for name, value in magnitudes(module).items() if value.ndim > 1})
    return found


def share(zeros: dict[str, torch.Tensor]) -> float:
    return sum(int(zero.sum()) for zero in zeros.values()) / sum(zero.numel() for zero in zeros.values())


def test_the_cubic_schedule() -> None:
    assert [cubic(progress, 0.0, 0.8) for progress in (0, 0.5, 1)] == [0, pytest.approx(0.7), 0.8]
    assert cubic(0.25, 0.2, 0.9) == pytest.approx(0.9 - 0.7 * 0.421875)


def test_the_share_that_moves_falls_as_a_cosine() -> None:
    assert [cosine(progress, 0.3) for progress in (0, 0.5, 1)] == [0.3, pytest.approx(0.15), pytest.approx(0)]


def test_zeros_grow_in_number_as_the_schedule_says(program: Program) -> None:
    plan = PruneWeightsGradually(sparsity=0.8).plan(program, Rules())
    hook = GrowingSparsity(plan, until=0.5, updates=5)
    found = steps(hook, program.module())
    # Ten steps of schedule, five updates: at steps 2, 4, 6, 8 and 10.
    wanted = [cubic(min(step, 10) // 2 * 2 / 10, 0.0, 0.8) for step in range(1, STEPS + 1)]
    assert [share(zeros) for zeros in found] == pytest.approx(wanted, abs=0.5 / TOTAL)
    for before, after in itertools.pairwise(found):
        assert all(after[name][zero].all() for name, zero in before.items()), "a zero stays zero"
    assert hook.may_end()


def test_no_epoch_before_the_full_sparsity_may_be_the_result(program: Program) -> None:
    hook = GrowingSparsity(PruneWeightsGradually(sparsity=0.8).plan(program, Rules()), until=0.5, updates=5)
    module = program.module()
    hook.begin(module, 20)
    hook.after_step(module, 9)
    assert not hook.may_end()
    hook.after_step(module, 10)
    assert hook.may_end()


def test_it_goes_on_from_the_zeros_there_are(program: Program) -> None:
    half = compress.apply(program, Recipe((PruneWeights(sparsity=0.5),)))
    hook = GrowingSparsity(PruneWeightsGradually(sparsity=0.9).plan(half, Rules()), until=0.5, updates=10)
    shares = [share(zeros) for zeros in steps(hook, half.module())]
    assert shares[0] == pytest.approx(cubic(0.1, 0.5, 0.9), abs=0.5 / TOTAL)
    assert shares[-1] == pytest.approx(0.9, abs=0.5 / TOTAL)


def test_n_of_m_comes_one_of_each_group_at_a_time(program: Program) -> None:
    plan = PruneWeightsGradually(pattern="1:4").plan(program, Rules())
    found = steps(GrowingSparsity(plan, until=0.5, updates=10), program.module())
    shares = [share({name: zeros[name] for name in ("right.weight", "left.weight")}) for zeros in found]
    assert sorted(set(shares)) == [0, 0.25, 0.5, 0.75][-len(set(shares)) :]
    left = (~found[-1]["right.weight"]).unflatten(1, (-1, 4)).sum(2)
    assert left.unique().tolist() == [1]


@pytest.mark.parametrize("pattern", ["unstructured", "4x1"])
def test_zeros_move_and_stay_as_many(program: Program, pattern: str) -> None:
    stage = PruneWeightsGradually(sparsity=0.75, pattern=pattern, schedule="regrow")
    found = steps(
        MovingZeros(stage.plan(program, Rules()), until=0.5, updates=5, share=0.3), program.module()
    )
    counts = [{name: int(zero.sum()) for name, zero in zeros.items()} for zeros in found]
    assert all(count == counts[0] for count in counts)
    assert share(found[0]) == pytest.approx(0.75, abs=8 / TOTAL)
    moved = [
        sum(int((before[name] & ~after[name]).sum()) for name in before)
        for before, after in itertools.pairwise(found)
    ]
    changed = [step for step, count in enumerate(moved, 2) if count]
    assert changed == [2, 4, 6, 8], "at the last update, step 10, the share has fallen to nothing"
    assert moved[0] > moved[4] > 0, "fewer move later on"
    if pattern == "4x1":
        blocks = found[-1]["right.weight"].unflatten(0, (-1, 4)).sum(1)
        assert blocks.unique().tolist() == [0, 4]


def test_the_zeros_with_the_largest_gradients_are_freed(program: Program) -> None:
    stage = PruneWeightsGradually(sparsity=0.75, schedule="regrow")
    module = program.module()
    hook = MovingZeros(stage.plan(program, Rules()), until=0.9, updates=100, share=0.3)
    hook.begin(module, 100)
    weight = module.get_parameter("classifier.weight")
    zero, slope = weight == 0, torch.rand(weight.shape)
    weight.grad = slope.clone()
    hook.before_step(module, 1)
    assert weight.grad is not None
    freed = zero & (weight.grad != 0)
    still = zero & (weight.grad == 0)
    assert freed.any()
    assert slope[freed].min() >= slope[still].max()
    assert not weight.detach()[freed].any(), "they start from zero"


@pytest.mark.parametrize("schedule", ["cubic", "regrow"])
def test_training_with_nine_zeros_in_ten_still_learns(
    program: Program, data: tiny_networks.Patches, schedule: str
) -> None:
    """At once and untrained, four classes are guessed; moved or grown in training, the network knows them."""
    stage = PruneWeightsGradually(
        sparsity=0.9, schedule=schedule, epochs=5, learning_rate=0.05, batch_size=32, average=0.5
    )
    after = compress.apply(program, Recipe((stage,)), data)
    results = after.history.steps[-1].results
    # A weight that was freed in vain, behind a ReLU that never fires, may be one zero more.
    assert 0.9 <= results["sparsity"] + 0.5 / TOTAL <= 0.91
    assert results["nonzero"] == sum(
        int(after.exported.state_dict[name].count_nonzero()) for name in results["sparse"]
    )
    assert evaluate(after.run, data, None).top1 > 80


def test_a_layer_that_a_rule_skips_keeps_the_zeros_it_has(
    program: Program, data: tiny_networks.Patches
) -> None:
    recipe = Recipe(
        (
            PruneWeights(sparsity=0.5, scope="uniform"),
            PruneWeightsGradually(sparsity=0.75, epochs=1, batch_size=32),
        ),
        Rules((Rule(layer="right", stage="prune_weights_gradually", skip=True),)),
    )
    after = compress.apply(program, recipe, data)
    assert int((after.exported.state_dict["right.weight"] == 0).sum()) == 2304 // 2


def test_n_of_m_cannot_move(program: Program, data: tiny_networks.Patches) -> None:
    stage = PruneWeightsGradually(pattern="2:4", schedule="regrow")
    with pytest.raises(BadOption, match="regrow works on single weights and blocks") as caught:
        compress.apply(program, Recipe((stage,)), data)
    assert caught.value.hint == "schedule=cubic"

"""The oracle of channel pruning: channels that contribute nothing can be removed without a trace.

A random share of the prunable channels of a network is made dead, their weights and their batch-norm scale
and shift zero, and exactly those are removed. Every output has to stay what it was.
"""

from __future__ import annotations

import numpy as np
import torch

from edgepress import graph
from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.scores import role_of
from edgepress.compress._channels.structure import Structure, read_structure
from edgepress.compress.prune_channels import Plan, plan_exactly, rewrite
from edgepress.program import Program


def assert_dead_channels_go(
    program: Program, *, share: float = 1 / 3, seed: int = 0, tolerance: float = 1e-5, parts: Parts = "auto"
) -> tuple[Program, Plan]:
    """Plant dead channels, remove exactly those, compare. Returns the pruned program and the plan.

    `tolerance` is of the largest output: the sums run over fewer terms and so round otherwise.
    """
    planted, removed = plant(program, share=share, seed=seed, parts=parts)
    plan = plan_exactly(planted, removed, parts)
    assert {layer.name: list(layer.removed) for layer in plan.layers if layer.removed} == {
        name: channels for name, channels in removed.items() if channels
    }
    pruned = rewrite(planted, plan)
    inputs = program.signature.example(2, seed)
    for before, after in zip(planted.run(*inputs), pruned.run(*inputs), strict=True):
        assert np.abs(before).max() > 1e-4, "a network without an output would prove nothing"
        assert np.abs(before - after).max() <= tolerance * np.abs(before).max()
    return pruned, plan


def plant(
    program: Program, *, share: float = 1 / 3, seed: int = 0, parts: Parts = "auto"
) -> tuple[Program, dict[str, list[int]]]:
    """The program with dead channels in it, and which of each layer they are."""
    structure = read_structure(program, parts)
    chosen = _chosen(structure, share, seed)
    removed = {
        layer.name: np.flatnonzero(np.isin(layer.outputs, chosen)).tolist()
        for layer in structure.layers
        if layer.outputs is not None
    }
    return _planted(program, structure, chosen, seed), removed


def _chosen(structure: Structure, share: float, seed: int) -> np.ndarray:
    """A random share of the classes that can go, with at least one channel left on every axis."""
    classes = np.concatenate([layer.outputs for layer in structure.layers if layer.outputs is not None])
    free = np.setdiff1d(classes, list(structure.labelling.reasons))
    kept = np.ones(structure.labelling.count, bool)
    for number in np.random.default_rng(seed).permutation(free)[: max(1, round(share * len(free)))]:
        kept[number] = False
        if (structure.counts(kept) == 0).any():
            kept[number] = True
    return np.flatnonzero(~kept)


def _planted(program: Program, structure: Structure, chosen: np.ndarray, seed: int) -> Program:
    """The program with random statistics and biases, and the chosen classes dead."""
    random = torch.Generator().manual_seed(seed)
    module = program.graph_module()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=random)
            elif value.ndim == 1 and value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=random) * 0.3)
        tensors = dict([*module.named_parameters(), *module.named_buffers()])
        for binding in structure.labelling.bindings:
            is_variance = binding.constant is graph.arguments(binding.node).get("running_var")
            if role_of(structure.labelling, binding) != "reader" and not is_variance:
                dead = np.flatnonzero(np.isin(structure.labelling.classes[binding.labels], chosen))
                tensors[binding.name].index_fill_(binding.axis, torch.from_numpy(dead), 0)
    return program.replace(module)

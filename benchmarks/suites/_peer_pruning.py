"""Torch-Pruning (Fang et al., 2023, DepGraph) as its users run it: global, one shot, the ratio searched for a MACs budget."""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from edgepress.data import Batch

PACKAGE = "torch_pruning"
HOW_TO_GET_IT = "pip install --no-deps torch-pruning==1.6.1"
SEARCH_STEPS = 12
"""Halvings of the interval of ratios: the last is 1/4096 wide, finer than a channel of any layer here."""

Criterion = Literal["l2", "taylor"]


@dataclass(frozen=True, eq=False)
class PeerResult:
    """The pruned module and what it took in CPU seconds: gradients (none for l2) and search, and the last prune."""

    module: nn.Module
    macs: int
    search_seconds: float
    prune_seconds: float


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def prune(
    module: nn.Module, example: torch.Tensor, share: float, criterion: Criterion, batches: Sequence[Batch]
) -> PeerResult:
    """A pruned copy with at most `share` of the multiply-accumulates; `batches` are what taylor reads."""
    most = share * _macs(module, example)
    started = time.process_time()
    module = copy.deepcopy(module).eval()
    if criterion == "taylor":
        _accumulate_gradients(module, batches)
    low, high = 0.0, 1.0
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        fits = _macs(_pruned(module, example, middle, criterion), example) <= most
        low, high = (low, middle) if fits else (middle, high)
    searched = time.process_time()
    pruned = _pruned(module, example, high, criterion)
    seconds = time.process_time() - searched
    return PeerResult(pruned, _macs(pruned, example), searched - started, seconds)


def _pruned(module: nn.Module, example: torch.Tensor, ratio: float, criterion: Criterion) -> nn.Module:
    import torch_pruning  # type: ignore[import-not-found,import-untyped]  # the peer is no dependency

    copied = _copy_with_gradients(module)
    importance = {
        "l2": torch_pruning.importance.GroupMagnitudeImportance(p=2),
        "taylor": torch_pruning.importance.GroupTaylorImportance(),
    }[criterion]
    outputs = [layer for layer in copied.modules() if isinstance(layer, nn.Linear)]
    pruner = torch_pruning.pruner.BasePruner(
        copied,
        example,
        importance,
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=outputs,
    )
    pruner.step()
    return copied


def _copy_with_gradients(module: nn.Module) -> nn.Module:
    """deepcopy leaves gradients behind, which taylor needs."""
    copied = copy.deepcopy(module)
    for source, target in zip(module.parameters(), copied.parameters(), strict=True):
        target.grad = None if source.grad is None else source.grad.clone()
    return copied


def _accumulate_gradients(module: nn.Module, batches: Sequence[Batch]) -> None:
    for batch in batches:
        logits = module(torch.from_numpy(batch.inputs[0]))
        nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels)).backward()


def _macs(module: nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for one sample."""
    total = 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight[0].numel() * output[0].numel()

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks: list[Callable[[], None]] = [layer.register_forward_hook(count).remove for layer in layers]
    with torch.no_grad():
        module(example)
    for remove in hooks:
        remove()
    return total

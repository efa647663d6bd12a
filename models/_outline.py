"""A network's outline: its parts in the order in which they run, what each gives, and how often in a row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.Embedding, nn.LSTM, nn.GRU)
"""Layers that are told of even where they leave the shape as it is."""
MOST_REDUCTION = 6
"""A module that gives so many times fewer pixels than it takes is not one part but has parts itself. Half the side is a
quarter of the pixels; of an odd side without padding it is a little less."""


@dataclass(frozen=True)
class Part:
    """So many `repeats` in a row of what is called `name`, each giving `shape` (without the batch axis)."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    repeats: int = 1


@dataclass(frozen=True)
class _Call:
    """A module as it was run: when its like has begun before it, and the shapes of what it took and gave."""

    module: nn.Module
    started: int
    took: tuple[int, ...]
    gave: tuple[int, ...] | None


def outline(network: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[Part, ...]:
    """The parts of a network that is run on `inputs`, which may be on the meta device as the network may.

    A part is a layer, or a module that stands for a block: what is one sequence of blocks is told block by block.
    """
    calls = _calls(network, inputs)
    parts: list[Part] = []
    found = [
        call
        for child in network.children()
        for call in _parts(child, calls, inside=type(network) is nn.Sequential)
    ]
    for call in sorted(found, key=lambda call: call.started):
        name, shape = _name(call.module), call.gave or ()
        parameters = sum(each.numel() for each in call.module.parameters())
        repeats = int(_is_told(call))
        if parts and (not repeats or (parts[-1].name, parts[-1].shape) == (name, shape)):
            parameters, repeats = parameters + parts[-1].parameters, repeats + parts[-1].repeats
            parts[-1] = replace(parts[-1], parameters=parameters, repeats=repeats)
        elif repeats:
            parts.append(Part(name, shape, parameters))
    return tuple(parts)


def _calls(network: nn.Module, inputs: Sequence[torch.Tensor]) -> dict[nn.Module, list[_Call]]:
    calls: dict[nn.Module, list[_Call]] = {module: [] for module in network.modules()}
    began: list[int] = []
    count = 0

    def before(module: nn.Module, arguments: Any) -> None:
        nonlocal count
        began.append(count)
        count += 1

    def after(module: nn.Module, arguments: Any, output: Any) -> None:
        took = next((tuple(each.shape[1:]) for each in arguments if isinstance(each, torch.Tensor)), ())
        first = output[0] if isinstance(module, nn.RNNBase) else output
        gave = tuple(first.shape[1:]) if isinstance(first, torch.Tensor) else None
        calls[module].append(_Call(module, began.pop(), took, gave))

    hooks = [
        hook
        for module in network.modules()
        for hook in (module.register_forward_pre_hook(before), module.register_forward_hook(after))
    ]
    try:
        with torch.inference_mode():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _parts(module: nn.Module, calls: dict[nn.Module, list[_Call]], *, inside: bool) -> Iterator[_Call]:
    """The calls to tell of in `module`; `inside` a sequence, where another one is a block."""
    is_sequence = type(module) in (nn.Sequential, nn.ModuleList)
    found = calls[module]
    is_block = not is_sequence or (inside and all(_is_layer(child) for child in module.children()))
    if is_block and found and all(_is_part(call) for call in found):
        yield from found
    else:
        for child in module.children():
            yield from _parts(child, calls, inside=is_sequence)


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is PyTorch's own."""
    return type(module).__module__.startswith("torch.nn")


def _is_layer(module: nn.Module) -> bool:
    return _is_plain(module) and not isinstance(module, nn.Sequential | nn.ModuleList)


def _is_part(call: _Call) -> bool:
    """Whether a module that was called so is one part; otherwise its own parts are told."""
    if _is_layer(call.module):
        return True
    if call.gave is None or len(call.gave) != len(call.took):
        return False
    return math.prod(call.took[1:]) < MOST_REDUCTION * math.prod(call.gave[1:])


def _is_told(call: _Call) -> bool:
    """Whether a part has a line of its own: what normalises or rectifies belongs to the part before."""
    return not _is_layer(call.module) or isinstance(call.module, WEIGHTED) or call.took != call.gave


def _name(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        kind = "depthwise " if 1 < module.groups == module.in_channels else ""
        groups = f", {module.groups} groups" if 1 < module.groups < module.in_channels else ""
        return f"{kind}{module.kernel_size[0]}x{module.kernel_size[1]} convolution{groups}"
    children = list(module.children())
    if type(module) is nn.Sequential:
        inside = itertools.groupby(_name(child) for child in children if isinstance(child, WEIGHTED))
        counted = [(name, len(list(group))) for name, group in inside]
        return ", ".join(f"{count} of {name}" if count > 1 else name for name, count in counted)
    kinds = {type(child).__name__ for child in children}
    if len(children) > 1 and len(kinds) == 1 and not _is_plain(children[0]):
        return f"{type(module).__name__} of {len(children)} {kinds.pop()}"
    return type(module).__name__

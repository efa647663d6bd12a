"""What a prune will remove, layer by layer, and of each layer that stays as it is, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgepress import graph
from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.latency_report import LatencyReport
from edgepress.compress._channels.layers import Layer, output_count
from edgepress.compress._channels.structure import Structure, bundles_of_classes
from edgepress.errors import BadOption, UnknownName, UnsupportedModel


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """One layer: its output and input channels before and after, which outputs go, and why none does.

    `follows` is the layer before it that has the very same channels, as a depthwise layer's maker has. `groups` says
    of a grouped convolution that loses outputs which of its groups stay, or how much of each goes.
    """

    name: str
    type: str
    outputs: int
    outputs_after: int
    inputs: int
    inputs_after: int
    removed: tuple[int, ...]
    reason: str
    follows: str = ""
    groups: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A prune as data. `str()` prints it as a table. `latency` says how a budget of time was met. `parts` is how heads
    and groups lose channels."""

    layers: tuple[LayerPlan, ...]
    macs: int
    macs_after: int
    parameters: int
    parameters_after: int
    weight_bytes: int
    weight_bytes_after: int
    latency: LatencyReport | None = None
    parts: Parts = "auto"

    @property
    def removed(self) -> dict[str, tuple[int, ...]]:
        """The output channels that go, by layer."""
        return {layer.name: layer.removed for layer in self.layers}

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self.layers)
        lines = [f"{'layer':{width}}  {'inputs':>14}  {'outputs':>14}  note"]
        lines += [
            f"{layer.name:{width}}  {_change(layer.inputs, layer.inputs_after):>14}  "
            f"{_change(layer.outputs, layer.outputs_after):>14}  {_note(layer)}".rstrip()
            for layer in self.layers
        ]
        lines.append(f"multiply-accumulates {_share(self.macs, self.macs_after)}")
        lines.append(f"parameters {_share(self.parameters, self.parameters_after)}")
        lines.append(f"bytes of weights {_share(self.weight_bytes, self.weight_bytes_after)}")
        lines += [str(self.latency)] if self.latency else []
        return "\n".join(lines)


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that the same layers make: a channel that goes leaves all of these layers."""

    channels: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Prunable:
    """What pruning can decide about: the groups of removable channels, and why each other layer stays."""

    groups: tuple[ChannelGroup, ...]
    stays: Mapping[str, str]


def prunable_of(structure: Structure) -> Prunable:
    groups = (
        ChannelGroup(len(classes), tuple(layer.name for layer in structure.makers_of(classes[0])))
        for classes in bundles_of_classes(structure)
    )
    return Prunable(tuple(groups), reasons_to_stay(structure))


def check_prunable(structure: Structure) -> None:
    """Raise UnsupportedModel, with the reason of every layer, when no channel can be removed."""
    if not bundles_of_classes(structure):
        raise _nothing_to_remove(reasons_to_stay(structure))


def plan_for(structure: Structure, kept: np.ndarray, reasons: Mapping[str, str]) -> Plan:
    """The plan that keeps the classes in `kept` (bool). `reasons` says of layers by name why they stay.

    Raises UnsupportedModel when nothing at all would go.
    """
    leaders = _leaders(structure)
    layers = tuple(
        _layer_plan(layer, kept, reasons.get(layer.name, ""), leaders[layer.name])
        for layer in structure.layers
    )
    if not any(layer.removed for layer in layers):
        raise _nothing_to_remove({layer.name: layer.reason for layer in layers})
    counts = structure.counts(kept)
    return Plan(
        layers=layers,
        macs=structure.given_macs,
        macs_after=round(structure.macs(counts)),
        parameters=structure.parameters.before,
        parameters_after=round(structure.parameters(counts)),
        weight_bytes=structure.weight_bytes.before,
        weight_bytes_after=round(structure.weight_bytes(counts)),
        parts=structure.parts,
    )


def classes_kept(structure: Structure, removed: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Which classes stay when these output channels of these layers go, and all that are tied to them.

    Raises UnknownName for a layer that is not there, BadOption for a channel that is not there, and
    UnsupportedModel for one that cannot go.
    """
    kept = np.ones(structure.labelling.count, bool)
    layers = {layer.name: layer for layer in structure.layers}
    for name, channels in removed.items():
        if name not in layers:
            raise UnknownName("layer", name, layers)
        classes = layers[name].outputs
        count = output_count(layers[name].node)
        if any(not 0 <= channel < count for channel in channels):
            raise BadOption(
                f"The layer has channels 0 to {count - 1}.",
                where=name,
                hint="choose channels within that range",
            )
        for number in [] if classes is None else classes[list(channels)].tolist():
            if number in structure.labelling.reasons:
                raise UnsupportedModel(
                    f"These channels must stay: {structure.labelling.reasons[number]}.",
                    where=name,
                    hint="leave the layer out of the plan",
                )
            kept[number] = False
        if classes is None and channels:
            raise UnsupportedModel(
                f"These channels must stay: {layers[name].why_without_channels}.",
                where=name,
                hint="leave the layer out of the plan",
            )
    _check_not_empty(structure, kept)
    return kept


def _check_not_empty(structure: Structure, kept: np.ndarray) -> None:
    counts = structure.counts(kept)
    for layer in structure.layers:
        for classes in (layer.outputs, layer.inputs):
            if classes is not None and counts[structure.axis(classes)] == 0:
                raise BadOption(
                    "This would remove every output or input channel of the layer.",
                    where=layer.name,
                    hint="keep at least one",
                )


def reasons_to_stay(structure: Structure) -> dict[str, str]:
    """Of each layer that cannot lose a channel: why. A layer of which some can go is not in it."""
    found = {}
    for layer in structure.layers:
        frozen = structure.labelling.reasons
        if layer.outputs is None:
            found[layer.name] = layer.why_without_channels
        elif all(number in frozen for number in layer.outputs.tolist()):
            ((reason, _),) = Counter(frozen[number] for number in layer.outputs.tolist()).most_common(1)
            found[layer.name] = reason
    return found


def _nothing_to_remove(reasons: Mapping[str, str]) -> UnsupportedModel:
    """The error, with a line for each reason and the layers that stay for it."""
    layers: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        layers.setdefault(reason, []).append(name)
    lines = (f"{', '.join(names)}: {reason}" for reason, names in layers.items())
    return UnsupportedModel(
        "No channel of this network can be removed.",
        where="\n         ".join(lines) or "it has no layers with weights",
        hint="--stage prune_weights sets single weights to zero, --quantize int8 makes the weights smaller",
    )


def _leaders(structure: Structure) -> dict[str, str]:
    """For each layer the first one that has the same channels; empty for that one itself."""
    first: dict[bytes, str] = {}
    found = {}
    for layer in structure.layers:
        leader = "" if layer.outputs is None else first.setdefault(layer.outputs.tobytes(), layer.name)
        found[layer.name] = "" if leader == layer.name else leader
    return found


def _layer_plan(layer: Layer, kept: np.ndarray, reason: str, follows: str) -> LayerPlan:
    outputs = output_count(layer.node)
    inputs = layer.input_count
    removed = () if layer.outputs is None else tuple(np.flatnonzero(~kept[layer.outputs]).tolist())
    lost = 0 if layer.inputs is None else int((~kept[layer.inputs]).sum())
    return LayerPlan(
        name=layer.name,
        type=layer.type,
        outputs=outputs,
        outputs_after=outputs - len(removed),
        inputs=inputs,
        inputs_after=inputs - lost,
        removed=removed,
        reason="" if removed else reason,
        follows=follows,
        groups=_groups(layer, kept) if removed else "",
    )


def _groups(layer: Layer, kept: np.ndarray) -> str:
    """What goes of a grouped convolution, in words; nothing of a depthwise one, which follows its maker."""
    count = graph.arguments(layer.node).get("groups", 1)
    if count == 1 or not layer.makes_channels or layer.outputs is None:
        return ""
    stays = kept[layer.outputs].reshape(count, -1)
    if stays.any(1).all():
        return f"{stays.shape[1]} -> {int(stays[0].sum())} in each of its {count} groups"
    return f"{count} -> {int(stays.any(1).sum())} groups"


def _note(layer: LayerPlan) -> str:
    follows = f"as {layer.follows}" if layer.follows else ""
    return ", ".join(note for note in (follows, layer.groups) if note) or layer.reason


def _change(before: int, after: int) -> str:
    return str(before) if before == after else f"{before} -> {after}"


def _share(before: int, after: int) -> str:
    return f"{before:,} -> {after:,} ({after / before:.1%})"

"""What every layer cost before and after compression, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepress.result import LayerFacts, RunResult


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of either network; None where it is not in that network."""

    name: str
    type: str
    before: LayerFacts | None
    after: LayerFacts | None

    @property
    def macs_before(self) -> int | None:
        return self.before.macs if self.before else None

    @property
    def macs_after(self) -> int | None:
        return self.after.macs if self.after else None

    @property
    def parameters_before(self) -> int | None:
        return self.before.parameters if self.before else None

    @property
    def parameters_after(self) -> int | None:
        return self.after.parameters if self.after else None

    @property
    def most_macs(self) -> int:
        return max(self.macs_before or 0, self.macs_after or 0)


def layer_rows(result: RunResult) -> tuple[LayerRow, ...]:
    """Layers by name, in the order of the original; several operators of one layer count together."""
    before, after = _by_name(result.original.layers), _by_name(result.compressed.layers)
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        LayerRow(
            name=name,
            type=(before.get(name) or after[name]).type,
            before=before.get(name),
            after=after.get(name),
        )
        for name in names
    )


def costliest(layers: Sequence[LayerRow], count: int) -> list[LayerRow]:
    """The costliest, still in the order of the network."""
    ranked = sorted(layers, key=lambda layer: layer.most_macs, reverse=True)
    kept = {layer.name for layer in ranked[:count]}
    return [layer for layer in layers if layer.name in kept]


def uncounted(result: RunResult) -> tuple[str, ...]:
    layers = (*result.original.layers, *result.compressed.layers)
    return tuple(dict.fromkeys(f"{layer.name} ({layer.type})" for layer in layers if layer.macs is None))


def _by_name(layers: Sequence[LayerFacts]) -> dict[str, LayerFacts]:
    found: dict[str, LayerFacts] = {}
    for layer in layers:
        other = found.get(layer.name)
        if other is None:
            found[layer.name] = layer
        else:
            main = layer if (layer.macs or 0) > (other.macs or 0) else other
            found[layer.name] = LayerFacts(
                name=layer.name,
                type=main.type,
                parameters=layer.parameters + other.parameters,
                macs=(layer.macs or 0) + (other.macs or 0),
                weight_bytes=(layer.weight_bytes or 0) + (other.weight_bytes or 0),
            )
    return found

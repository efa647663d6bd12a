"""What a stage that lets weights share values says of its result."""

from __future__ import annotations

from collections.abc import Mapping

from edgepress.compress._sharing.choice import Sharable, Sharing
from edgepress.compress._sharing.keep import SHARED
from edgepress.history import Value
from edgepress.sqnr import recorded_db

NO_FASTER = "Shared values make files smaller (convert --to epz), not inference faster."


def results(chosen: Mapping[Sharable, Sharing], reasons: Mapping[str, str]) -> dict[str, Value]:
    """For the history: bits, codebook and expected bytes of each weight and of all, and what is not shared and why."""
    return {
        "weights": sum(layer.weight.size for layer in chosen),
        "nonzero": sum(layer.nonzero for layer in chosen),
        "coded_bytes": round(sum(sharing.coded_bytes for sharing in chosen.values())),
        SHARED: {layer.layer.weight: _facts(layer, sharing) for layer, sharing in chosen.items()},
        "not_shared": dict(reasons),
    }


def summary(chosen: Mapping[Sharable, Sharing]) -> str:
    """The lines for the user."""
    total = sum(layer.weight.size for layer in chosen)
    coded = sum(sharing.coded_bytes for sharing in chosen.values())
    width = max((len(layer.layer.weight) for layer in chosen), default=0)
    lines = [
        f"{total:,} weights take about {coded:,.0f} bytes, coded: {8 * coded / max(total, 1):.2f} bits each:"
    ]
    lines += [
        f"  {layer.layer.weight:<{width}}  {sharing.bits} bits, {len(sharing.codebook.values)} values, "
        f"{sharing.coded_bytes:,.0f} bytes, {recorded_db(1.0, sharing.noise):.1f} dB"
        for layer, sharing in chosen.items()
    ]
    return "\n".join([*lines, NO_FASTER])


def _facts(layer: Sharable, sharing: Sharing) -> Value:
    return {
        "bits": sharing.bits,
        "values": len(sharing.codebook.values),
        "weights": layer.weight.size,
        "nonzero": layer.nonzero,
        "coded_bytes": round(sharing.coded_bytes),
        "sqnr_db": recorded_db(1.0, sharing.noise),
    }

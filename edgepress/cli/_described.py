"""What a manifest says of its file, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import print_table

if TYPE_CHECKING:
    from edgepress.artifact import Artifact, Manifest

MOST_LEFT = 4
"""Layers named in a sentence: a pattern shows in a few, and the history has all."""


def converted_file(text: str) -> Artifact | None:
    """The file that MODEL names, when it is one that edgepress has converted; None for every other MODEL."""
    from edgepress.artifact import Artifact, manifest_path

    path = Path(text)
    return Artifact.open(path) if path.is_file() and manifest_path(path).is_file() else None


def quality_text(manifest: Manifest) -> str:
    """`12 operations, 0 transposes`: the counts of what runtimes do slowly."""
    return ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in manifest.quality.items())


def float_remark(manifest: Manifest) -> str:
    """What to say of a file whose activations are integers, where its runtime computes half of it in float or more."""
    from edgepress.backend_fit import FITS

    form, counts = manifest.quantized, manifest.quality
    total, floats = (_count(counts, kind) for kind in ("operations", "float_operations"))
    if not total and "float_layers" in counts:
        floats = _count(counts, "float_layers")
        total = floats + _count(counts, "int8_layers")
    if form is None or form.activations == "float" or 2 * floats < total or not floats:
        return ""
    fit = FITS.get(manifest.format)
    why = fit.taken(form).say if fit is not None else ""
    return f"{floats} of {total} compute in float though the network is {form.name}. {why}".strip()


def left_remark(manifest: Manifest) -> str:
    """Of a file with integer activations: how often values change between integers and float inside of it, and which
    layers of the user's are left in float, and why; empty where neither is the case."""
    if manifest.quantized is None or manifest.quantized.activations == "float":
        return ""
    ends = len(manifest.signature.inputs) + len(manifest.signature.outputs)
    inside = max(_count(manifest.quality, "conversions") - ends, 0)
    told = [f"values change between integers and float {inside} times inside"] if inside else []
    left = _left_in_float(manifest)
    if left:
        more = f"; and {len(left) - MOST_LEFT} more" if len(left) > MOST_LEFT else ""
        told.append(f"left in float: {'; '.join(left[:MOST_LEFT])}{more}")
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in told)


def _left_in_float(manifest: Manifest) -> list[str]:
    """`stem (gelu): no int8 form of this operator is known`, of the last step that quantized."""
    for step in reversed(manifest.history.steps):
        found = step.results.get("left_in_float")
        if isinstance(found, list):
            return [
                f"{one['layer']} ({one['type']}): {one['reason']}" for one in found if isinstance(one, dict)
            ]
    return []


def _count(counts: Mapping[str, Any], kind: str) -> int:
    found = counts.get(kind, 0)
    return found if isinstance(found, int) else 0


def figures_text(results: Mapping[str, Any]) -> str:
    """What a verification has put on record: `sqnr_db 61.2, max_error 0.01`."""
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in results.items()
    )


def as_mapping(artifact: Artifact) -> dict[str, Any]:
    from edgepress.options import to_mapping

    return {"path": str(artifact.path), **to_mapping(artifact.manifest)}


def show(artifact: Artifact) -> None:
    manifest = artifact.manifest
    print_table(["", artifact.path.name], [[key, value] for key, value in _facts(manifest).items()])
    for kind, specs in (("input", manifest.signature.inputs), ("output", manifest.signature.outputs)):
        for spec in specs:
            click.echo(f"{kind:<16} {spec}")


def _facts(manifest: Manifest) -> dict[str, str]:
    checked = manifest.verification
    return {
        "format": f"{manifest.format}, {manifest.precision}, {manifest.layout}",
        **({"quantized": manifest.quantized.name} if manifest.quantized else {}),
        "bytes": f"{manifest.size_bytes:,}",
        "sha-256": manifest.sha256,
        "history": ", ".join(manifest.history.names()),
        "graph": quality_text(manifest) or "not counted",
        "verification": checked.status if checked else "never verified",
        "figures": figures_text(checked.results) if checked else "",
    }

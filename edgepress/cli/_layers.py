"""Where inside a network two executions of it part: the comparison of their layers, for people and for machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from edgepress.artifact import Precision
from edgepress.cli._console import print_table
from edgepress.layer_output import LayerOutput
from edgepress.runtime import LayerReport, compare_layers
from edgepress.sqnr import bounded

SAMPLES = 4
"""How many samples the layers are compared on: all that happens inside is held in memory at once."""

ReadLayers = Callable[..., tuple[LayerOutput, ...]]


def layer_report(
    reference: ReadLayers,
    candidate: ReadLayers,
    inputs: tuple[np.ndarray, ...],
    precisions: tuple[Precision, Precision],
) -> LayerReport:
    """Run both on the first samples of the inputs."""
    few = tuple(array[:SAMPLES] for array in inputs)
    return compare_layers(reference(*few), candidate(*few), precisions)


def as_mapping(report: LayerReport) -> dict[str, Any]:
    """For JSON: the layers, and the names of those that matter."""
    departing, worst = report.departing, report.largest_drop
    return {
        "layers": [
            {key: _finite(value) for key, value in dataclasses.asdict(layer).items()}
            for layer in report.layers
        ],
        "first_departing": departing.layer if departing else None,
        "largest_drop": worst.layer if worst else None,
    }


def show(report: LayerReport) -> None:
    """The table, and below it what it says."""
    rows = [
        [
            layer.layer,
            layer.type,
            f"{_finite(layer.sqnr_db):.1f}",
            f"{_finite(layer.drop_db):.1f}",
            f"{layer.max_error:.3g}",
            "first to depart" if layer is report.departing else "",
        ]
        for layer in report.layers
    ]
    if rows:
        columns = ["layer", "operator", "SQNR, dB", "drop, dB", "max error", ""]
        print_table(columns, rows, title="SQNR up to each layer, and what it loses by itself")
    for line in summary(report):
        click.echo(line)


def summary(report: LayerReport) -> list[str]:
    """One sentence each."""
    if not report.layers:
        return ["layers: the two files have no layer of the same name."]
    departing, worst = report.departing, report.largest_drop
    first = f"{departing.layer} ({departing.type})" if departing else "none"
    lines = [f"first layer beyond the limit of {report.limit_db:.0f} dB: {first}"]
    return lines + ([f"largest drop: {worst.layer}, {_finite(worst.drop_db):.1f} dB"] if worst else [])


def _finite(value: Any) -> Any:
    return bounded(value) if isinstance(value, float) else value

"""Measuring artifacts and reporting on them: one timing protocol, in one place. Nothing here imports torch."""

from __future__ import annotations

from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import MEASUREMENTS_FILE, Measurement, append, read
from edgepress.benchmarks._protocol import Protocol, by_device, compare, measure
from edgepress.benchmarks._ratio import Ratio, are_comparable, ratio
from edgepress.benchmarks._table import Table, comparison_table, file_names
from edgepress.benchmarks._warnings import cost_warning, integer_warning, of_integers

__all__ = [
    "MEASUREMENTS_FILE",
    "Environment",
    "Measurement",
    "Protocol",
    "Ratio",
    "Table",
    "append",
    "are_comparable",
    "by_device",
    "compare",
    "comparison_table",
    "file_names",
    "measure",
    "cost_warning",
    "integer_warning",
    "of_integers",
    "ratio",
    "read",
]

"""What the suites have in common: one compression run on a real network, converted, timed and reported in a folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType

import click

from edgepress.benchmarks import Protocol, ratio
from edgepress.cli._compression import Compression
from edgepress.cli._console import progress_bar, remark
from edgepress.cli._road import Finished, Road, show
from edgepress.data import Data
from edgepress.program import Program
from edgepress.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One network from the reference data, one recipe, and the formats to compare the original with the result in."""

    name: str
    recipe: Recipe
    formats: tuple[str, ...]
    protocol: Protocol = Protocol()

    def run(self, program: Program, data: Data, arguments: argparse.Namespace) -> Finished:
        """Leaves the files and the report in a folder of the suite's name and prints the table."""
        run = Compression(
            folder=arguments.out / self.name,
            recipe=self.recipe,
            data=data,
            model=self.name,
            data_text=data.name,
            evaluate_limit=arguments.evaluate,
        )
        road = Road(compression=run, formats=self.formats, protocol=self.protocol)
        with progress_bar() as progress:
            finished = road.travel(program, progress)
        show(finished, road)
        return finished


def arguments(description: str, switches: Mapping[str, str] = MappingProxyType({})) -> argparse.Namespace:
    """`--data`, `--out` and `--evaluate`, the same for every suite, and its own `switches` (name: help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, help="folder of the reference data [default: $EDGEPRESS_SHARED]")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for the results")
    parser.add_argument("--evaluate", type=int, help="samples for the accuracy [default: all]")
    for name, text in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    given = parser.parse_args()
    if given.data:
        os.environ["EDGEPRESS_SHARED"] = str(given.data)
    return given


def reference_networks() -> ModuleType:
    """The trained networks and data sets that the tests use as well; says so and stops where they are absent."""
    sys.path.append(str(ROOT / "tests"))
    import pytest
    import shared_data  # type: ignore[import-not-found]  # tests/ is no package

    try:
        shared_data.folder()
    except pytest.skip.Exception as absent:
        remark(f"nothing to measure: {absent}")
        sys.exit(0)
    networks: ModuleType = shared_data
    return networks


def check(claim: str, value: float, limit: float, *, at_most: bool = True) -> bool:
    """Print one claim with its figure and whether it holds."""
    holds = value <= limit if at_most else value >= limit
    bound = f"{'at most' if at_most else 'at least'} {limit:g}"
    click.echo(f"{'holds' if holds else 'FAILS'}  {claim}: {value:.4g} ({bound})")
    return holds


def latency_ratio(finished: Finished, format: str) -> float:
    """Compressed over original, from interleaved rounds."""
    return ratio(finished.of(f"original.{format}"), finished.of(f"model.{format}")).value

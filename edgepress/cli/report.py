"""Write one self-contained HTML page about a folder of results."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Write report.html into FOLDER from its result.json, manifests and measurements; it needs no network to read."""
    from edgepress.benchmarks.report import write

    click.echo(write(folder))

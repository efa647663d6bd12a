"""Put a converted file into a folder with all that an application needs: preprocessing, labels, samples, examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_json, remark
from edgepress.cli._inputs import FOLDER, DataInput, data_options

if TYPE_CHECKING:
    from edgepress.artifact import Artifact
    from edgepress.cli._conversion import Arrays
    from edgepress.data import Data

SAMPLES = 3


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@data_options
@click.option("-o", "--out", "folder", type=FOLDER, required=True, help="The new folder.")
@click.option("--force", is_flag=True, help="Even when the file's verification failed.")
@json_option
def command(artifact: Path, data: DataInput, folder: Path, force: bool, as_json: bool) -> None:
    """Write ARTIFACT (a converted file, or a .pt2) with its manifest, preprocessing and labels, three sample inputs with
    the outputs expected of them, and a minimal example for its runtime that does not need edgepress.

    The samples are pictures of --data, else random. A bundle made before in the same folder is replaced.
    """
    from edgepress.artifact import Artifact
    from edgepress.cli import _bundle
    from edgepress.files import check_writable

    check_writable(folder)
    found = Artifact.open(artifact)
    _check_verified(found, force)
    files = _bundle.write(found, _bundle.Samples.of(found, _inputs(found, data.open())), folder)
    if _bundle.RUN not in files:
        remark(f"There is no Python example for .{found.format} files.")
    if as_json:
        print_json({"folder": str(folder), "files": files})
        return
    click.echo(f"{folder}: {', '.join(files)}")
    if _bundle.RUN in files:
        click.echo(f"try: python {folder / _bundle.RUN}")


def _check_verified(artifact: Artifact, force: bool) -> None:
    """Raise VerificationFailed for a file that failed, unless forced; remark on one that nobody has verified."""
    from edgepress.artifact import PROGRAM_FORMATS
    from edgepress.cli._described import figures_text
    from edgepress.errors import VerificationFailed

    checked = artifact.manifest.verification
    if checked and checked.status == "failed" and not force:
        raise VerificationFailed(
            f"{artifact.path.name} failed its verification.",
            where=f"{artifact.path}: {figures_text(checked.results)}",
            hint="edgepress verify --layers shows where; --force bundles it anyway",
        )
    if artifact.format not in PROGRAM_FORMATS and (checked is None or checked.status != "passed"):
        remark(
            f"{artifact.path.name} is {'not verified' if checked is None else checked.status}: do not ship it yet."
        )


def _inputs(artifact: Artifact, data: Data | None) -> Arrays:
    """The first samples of the data's evaluation split, or random ones."""
    import numpy as np

    from edgepress.errors import BadInput

    manifest = artifact.manifest
    if data is None:
        return tuple(
            np.concatenate(parts)
            for parts in zip(*(manifest.signature.example(1, seed) for seed in range(SAMPLES)), strict=True)
        )
    batches = list(data.batches("evaluate", manifest.preprocess, batch_size=1, limit=SAMPLES))
    if not batches:
        raise BadInput("There are no samples to bundle.", where=f"data {data.name}", hint="check --data")
    return tuple(np.concatenate(parts) for parts in zip(*(batch.inputs for batch in batches), strict=True))

"""Convert a network to the files that runtimes load, and verify each on its own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table, progress_bar, remark
from edgepress.cli._described import float_remark, left_remark, quality_text
from edgepress.cli._inputs import FOLDER, DataInput, ModelInput, data_options, listed_formats, model_argument

if TYPE_CHECKING:
    from edgepress.artifact import Artifact

FIGURES = {
    "sqnr_db": "SQNR, dB",
    "max_error": "max error",
    "top1_agreement": "agreement, %",
    "found_agreement": "found alike, %",
    "top1_reference": "top-1 before, %",
    "top1_candidate": "top-1, %",
    "map_reference": "mAP before, %",
    "map_candidate": "mAP, %",
    "miou_reference": "mIoU before, %",
    "miou_candidate": "mIoU, %",
}
"""The figures of a verification that the table shows, and their columns."""


@click.command()
@model_argument
@data_options
@click.option("--to", "formats", metavar="FORMAT,...", required=True, help="onnx, tflite, ...")
@click.option(
    "--option", "options", metavar="FORMAT:KEY=VALUE,...", multiple=True, help="Options of a converter."
)
@click.option("-o", "--out", "folder", type=FOLDER, required=True, help="Folder for the files.")
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples for the accuracy.  [default: all]")
@click.option("--name", default="model", show_default=True, help="File name, without its ending.")
@json_option
def command(
    model: ModelInput,
    data: DataInput,
    formats: str,
    options: tuple[str, ...],
    folder: Path,
    limit: int | None,
    name: str,
    as_json: bool,
) -> None:
    """Write MODEL in each FORMAT and compare its outputs with MODEL's on the format's own runtime.

    The comparison runs on the data where --data is given, else on random inputs; labelled data gives the accuracy
    of both as well. A file that departs further than its precision allows stays, marked as failed, and the exit
    code is 4. A file whose runtime is not installed stays, marked as skipped, and the exit code is 6.
    """
    from edgepress.cli._conversion import Scored, convert_each, require_done
    from edgepress.errors import BadOption
    from edgepress.files import check_writable

    check_writable(folder)
    wanted = listed_formats(formats)
    if name in ("", "..") or Path(name).name != name:
        raise BadOption(f"{name!r} is not a file name.", where="--name", hint="the folder goes to -o")
    with progress_bar() as progress:
        converted = convert_each(
            model.load(),
            {format: folder / f"{name}.{format}" for format in wanted},
            options=_options(options, wanted),
            data=data.open(),
            scored=Scored(limit),
            progress=progress,
        )
    made = converted.made
    if made:
        _show(made, as_json)
    for artifact in made:
        for note in artifact.manifest.notes:
            remark(f"{artifact.path.name}: {note}")
    require_done(converted)


def _options(texts: tuple[str, ...], wanted: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """`tflite:io=int8` to {"tflite": {"io": "int8"}}."""
    from edgepress.errors import BadOption
    from edgepress.options import parse

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        format, colon, values = text.partition(":")
        if not colon:
            raise BadOption(
                f"{text!r} does not name a format.", where="--option", hint="--option tflite:io=int8"
            )
        if format not in wanted:
            raise BadOption(
                f"{text!r} is for a format that --to does not name.", where="--option", hint=f"--to {format}"
            )
        found.setdefault(format, {}).update(parse(values, where=f"--option {format}"))
    return found


def _show(made: list[Artifact], as_json: bool) -> None:
    from edgepress.options import to_mapping

    if as_json:
        print_json([{"path": str(artifact.path), **to_mapping(artifact.manifest)} for artifact in made])
        return
    columns = ["file", "precision", "bytes", "verified", *FIGURES.values()]
    rows = [_row(artifact) for artifact in made]
    used = [place for place, column in enumerate(columns) if any(row[place] for row in rows)]
    print_table([columns[place] for place in used], [[row[place] for place in used] for row in rows])
    for artifact in made:
        if artifact.manifest.quality:
            click.echo(f"{artifact.path.name}: {quality_text(artifact.manifest)}")
        for told in (float_remark(artifact.manifest), left_remark(artifact.manifest)):
            if told:
                click.echo(f"{artifact.path.name}: {told}")


def _row(artifact: Artifact) -> list[str]:
    verification = artifact.manifest.verification
    assert verification is not None, "convert_all verifies"
    results = verification.results
    status = "SKIPPED, not verified" if verification.status == "skipped" else verification.status
    return [
        str(artifact.path),
        artifact.manifest.precision,
        f"{artifact.manifest.size_bytes:,}",
        f"{status} {verification.runner}".strip(),
        *(f"{results[key]:.4g}" if key in results else "" for key in FIGURES),
    ]

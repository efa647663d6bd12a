"""What the commands that work in a run's folder share: the folder, going on from it, and the table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import print_table, progress_bar, remark
from edgepress.cli._inputs import FOLDER, Command, ModelInput
from edgepress.cli._signals import stopping

if TYPE_CHECKING:
    from edgepress.cli._compression import Compression
    from edgepress.result import RunResult


def folder_options(command: Command) -> Command:
    """-o, --resume and --overwrite."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace the results that the folder holds."),
        click.option("--resume", is_flag=True, help="Go on from what this run finished."),
        click.option("-o", "--out", "folder", type=FOLDER, help="Folder for the results."),
    ):
        command = option(command)
    return command


def checked_folder(folder: Path | None, *, resume: bool, overwrite: bool) -> Path:
    """The folder to work in. Raises UsageError where none is given, or one whose results nobody gave up."""
    from edgepress.cli._compression import holds_run
    from edgepress.errors import UsageError
    from edgepress.files import check_writable

    if folder is None:
        raise UsageError("No folder is given for the results.", hint="-o FOLDER")
    check_writable(folder)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other.", hint="give one of them")
    if holds_run(folder) and not (resume or overwrite):
        raise UsageError(
            "The folder already holds a compression run.",
            where=str(folder),
            hint="--resume, --overwrite, or another -o",
        )
    return folder


def is_done(folder: Path) -> bool:
    """Whether the folder's run has finished its last stage."""
    from edgepress.recipe import Recipe
    from edgepress.result import RECIPE_FILE, RunResult

    return len(RunResult.load(folder).stages) == len(Recipe.load(folder / RECIPE_FILE).stages)


def run(compression: Compression, model: ModelInput, *, resume: bool) -> RunResult:
    """Run it, or go on; where it is interrupted, say what was kept."""
    from edgepress.errors import DeviceFailed
    from edgepress.result import RESULT_FILE

    folder = compression.folder
    with progress_bar() as progress:
        try:
            with stopping():
                if resume:
                    return compression.resume(progress, remark)
                return compression.start(model.load(), progress, remark)
        except (KeyboardInterrupt, DeviceFailed):
            if (folder / RESULT_FILE).exists():
                remark(
                    f"What was finished is kept in {folder}; the same command with --resume continues from it."
                )
            raise


def show(result: RunResult, *, as_json: bool) -> None:
    """The network before and after."""
    from edgepress.records import encode

    if as_json:
        click.echo(encode(result))
        return
    before, after = result.original, result.compressed
    rows = [
        _row("parameters", before.parameters, after.parameters, "{:,.0f}"),
        *_row_if_counted("that are not zero", before.nonzero, after.nonzero),
        _row("MACs", before.macs, after.macs, "{:,.0f}"),
        _row("weights, bytes", before.weight_bytes, after.weight_bytes, "{:,.0f}"),
        *_row_if_counted("weights, deflated bytes", before.deflated_bytes, after.deflated_bytes),
        _row("file, bytes", before.size_bytes, after.size_bytes, "{:,.0f}"),
    ]
    if before.accuracy and after.accuracy:
        rows.append(
            _row(f"{before.accuracy.name}, %", before.accuracy.percent, after.accuracy.percent, "{:.2f}")
        )
    print_table(["", "original", "compressed", "ratio"], rows)


def _row(name: str, before: float, after: float, form: str) -> list[str]:
    ratio = f"{after / before:.3f}" if before else ""
    return [name, form.format(before), form.format(after), ratio]


def _row_if_counted(name: str, before: int | None, after: int | None) -> list[list[str]]:
    """The row as a list, empty where an older edgepress, whose run goes on, has not counted it."""
    return [] if before is None or after is None else [_row(name, before, after, "{:,.0f}")]

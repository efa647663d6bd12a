"""Measure how much accuracy each layer costs when it alone is pruned, or quantized."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
from annotated_types import Gt, Lt

from edgepress.cli._console import json_option, print_table, progress_bar, remark
from edgepress.cli._inputs import FOLDER, DataInput, ModelInput, data_options, model_argument
from edgepress.cli._quantized_alone import quantized_alone
from edgepress.cli._signals import stopping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgepress.compress import ChannelScan
    from edgepress.data import Data, Split
    from edgepress.program import Program
    from edgepress.progress import Progress
    from edgepress.sensitivity import Part, Sensitivity


@dataclass(frozen=True)
class _Suggestion:
    """The value of --suggest: the share of the MACs that the recipe keeps."""

    macs: Annotated[float, Gt(0), Lt(1)]


@click.command()
@model_argument
@data_options
@click.option("-o", "--out", "folder", type=FOLDER, help="Folder for the results.")
@click.option(
    "--ratios", default="0.25,0.5,0.75", show_default=True, metavar="R,...", help="Shares to remove."
)
@click.option(
    "--criterion", default="l2", show_default=True, help="Which channels go first (edgepress stages)."
)
@click.option(
    "--samples", default=256, show_default=True, type=click.IntRange(1), help="Samples to measure with."
)
@click.option(
    "--split",
    default="calibrate",
    show_default=True,
    type=click.Choice(["train", "calibrate", "evaluate"]),
    help="Whose samples. What is chosen on evaluate can no longer be judged on it.",
)
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Begin no trial after so long.")
@click.option(
    "--suggest",
    metavar="macs=SHARE",
    help="Also print a recipe that keeps this share of the MACs, with equal drops.",
)
@click.option(
    "--quantize",
    metavar="OPTIONS",
    help="Quantize each layer alone instead, by these options of quantize_static, such as int8.",
)
@click.option("--overwrite", is_flag=True, help="Forget the results that the folder holds.")
@json_option
def command(
    model: ModelInput,
    data: DataInput,
    folder: Path | None,
    ratios: str,
    criterion: str,
    samples: int,
    split: Split,
    max_seconds: float | None,
    suggest: str | None,
    quantize: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Prune every group of channels of MODEL alone, by each ratio, and print what is left of its accuracy.

    The accuracy is that on calibration samples, which belong to the training split, so that choices made from
    it leave the evaluation samples untouched. Nothing is trained; batch-norms are measured anew.

    The folder gets sensitivity.json, after every trial, and sensitivity.svg. An interrupted scan goes on
    when it is started again with the same options; other ratios are added to those already there. With
    --suggest it gets recipe.yaml, too.

    With --quantize, every layer's weight and input are quantized alone, and nothing is pruned. The folder gets
    quantization_sensitivity.json and quantization_sensitivity.svg.
    """
    if quantize is not None:
        quantized_alone(model, data, quantize, (samples, split), folder, as_json)
        return
    from edgepress.compress import ChannelScan
    from edgepress.options import build, parse
    from edgepress.records import encode

    values = {"ratios": ratios.split(","), "criterion": criterion, "samples": samples, "split": split}
    how = build(ChannelScan, values, where="sensitivity")
    macs = (
        None
        if suggest is None
        else build(_Suggestion, parse(suggest, where="--suggest"), where="--suggest").macs
    )
    opened = _opened(data)
    earlier = _earlier(folder, overwrite)
    program = model.load()
    with progress_bar() as progress:
        scan = _scan(program, opened, how, earlier, progress)
        found = _followed(scan, folder, max_seconds)
    if folder is not None:
        _draw(found, folder)
    click.echo(encode(found)) if as_json else _show(found)
    if macs is not None:
        _suggest(program, found, macs, folder, as_json)


def _opened(data: DataInput) -> Data:
    from edgepress.errors import UsageError

    opened = data.open()
    if opened is None:
        raise UsageError("Accuracy needs data with labels.", hint="--data folder:DIR, or another")
    return opened


def _earlier(folder: Path | None, overwrite: bool) -> Sensitivity | None:
    from edgepress.files import check_writable
    from edgepress.sensitivity import SENSITIVITY_FILE, Sensitivity

    if folder is None:
        return None
    check_writable(folder)
    return None if overwrite or not (folder / SENSITIVITY_FILE).exists() else Sensitivity.load(folder)


def _scan(
    program: Program, data: Data, how: ChannelScan, earlier: Sensitivity | None, progress: Progress
) -> Iterator[Sensitivity]:
    from edgepress.compress import scan_channels
    from edgepress.data import check_labels

    check_labels(data, program.signature)
    return scan_channels(program, data, how, earlier=earlier, progress=progress)


def _followed(scan: Iterator[Sensitivity], folder: Path | None, max_seconds: float | None) -> Sensitivity:
    """The last of what the scan found in time, each saved as it comes."""
    started = time.monotonic()
    found = next(scan)
    try:
        with stopping():
            for found in scan:
                if folder is not None:
                    found.save(folder)
                if max_seconds is not None and time.monotonic() - started > max_seconds:
                    remark(f"{max_seconds:g} s are over; the same command goes on from here.")
                    break
    except KeyboardInterrupt:
        if folder is not None:
            remark(f"What was finished is kept in {folder}; the same command goes on from it.")
        raise
    return found


def _draw(found: Sensitivity, folder: Path) -> None:
    from edgepress.benchmarks import sensitivity
    from edgepress.errors import BackendMissing

    try:
        remark(f"drawn: {sensitivity.draw(found, folder)}")
    except BackendMissing as error:
        remark(f"no plot: {error.on_one_line()}")


def _show(found: Sensitivity) -> None:
    columns = ["layers", "channels", *(f"top-1 without {ratio:.0%}" for ratio in found.ratios()), "mean drop"]
    print_table(columns, [_row(found, part) for part in found.most_sensitive_first()])
    click.echo(
        f"whole network: {found.original.percent:.2f} % of {found.original.samples:,} samples to {found.question.split} "
        f"with; {found.reference.percent:.2f} % with its batch-norms measured anew, from which the drops are"
    )


def _suggest(program: Program, found: Sensitivity, macs: float, folder: Path | None, as_json: bool) -> None:
    """Print the recipe, and put it into the folder."""
    from edgepress.compress import equal_drops
    from edgepress.result import RECIPE_FILE

    recipe = equal_drops(program, found, macs)
    if folder is not None:
        recipe.save(folder / RECIPE_FILE)
    if not as_json:
        click.echo(recipe.to_yaml(), nl=False)


def _row(found: Sensitivity, part: Part) -> list[str]:
    tried = [part.trial(ratio) for ratio in found.ratios()]
    drop = found.mean_drop(part)
    return [
        part.name,
        str(part.channels),
        *("" if trial is None else f"{trial.accuracy.percent:.2f}" for trial in tried),
        "" if drop is None else f"{drop:.2f}",
    ]

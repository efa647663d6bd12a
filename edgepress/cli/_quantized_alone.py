"""`edgepress sensitivity --quantize`: every layer quantized alone, printed, saved and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import print_table, progress_bar, remark

if TYPE_CHECKING:
    from edgepress.cli._inputs import DataInput, ModelInput
    from edgepress.data import Split
    from edgepress.sensitivity import QuantizationSensitivity


def quantized_alone(
    model: ModelInput,
    data: DataInput,
    options: str,
    measured_on: tuple[int, Split],
    folder: Path | None,
    as_json: bool,
) -> None:
    """`measured_on` are how many samples of which split; `options` those of quantize_static, as --quantize takes them."""
    from edgepress import models
    from edgepress.compress import check, scan_quantization
    from edgepress.compress.quantize_static import QuantizeStatic
    from edgepress.errors import UsageError
    from edgepress.files import check_writable
    from edgepress.options import build, parse
    from edgepress.recipe import Recipe
    from edgepress.records import encode
    from edgepress.stage import Context

    values = parse(options, where="--quantize", shorthand=QuantizeStatic.shorthand)
    how = build(QuantizeStatic, values, where="--quantize")
    opened = data.open()
    if opened is None:
        raise UsageError(
            "Quantization needs samples to calibrate with.", hint="--data folder:DIR, or another"
        )
    if folder is not None:
        check_writable(folder)
    program = model.load()
    check(program, Recipe((how,)), opened)
    samples, split = measured_on
    with progress_bar() as progress:
        context = Context(original=program, load_model=models.load, data=opened, progress=progress)
        found = scan_quantization(program, context, how, samples=samples, split=split)
    if folder is not None:
        found.save(folder)
        _draw(found, folder)
    click.echo(encode(found)) if as_json else _show(found)


def _draw(found: QuantizationSensitivity, folder: Path) -> None:
    from edgepress.benchmarks import sensitivity
    from edgepress.errors import BackendMissing

    try:
        remark(f"drawn: {sensitivity.draw_quantization(found, folder)}")
    except BackendMissing as error:
        remark(f"no plot: {error.on_one_line()}")


def _show(found: QuantizationSensitivity) -> None:
    columns = ["layer", "type", "SQNR of its output, dB", "of the network's, dB", "top-1 %"]
    rows = [
        [
            one.layer,
            one.type,
            f"{one.layer_sqnr_db:.1f}",
            f"{one.network_sqnr_db:.1f}",
            "" if one.accuracy is None else f"{one.accuracy.percent:.2f}",
        ]
        for one in found.most_sensitive_first()
    ]
    print_table(columns, rows)
    top1 = "" if found.original is None else f", {found.original.percent:.2f} % in float"
    click.echo(f"{found.samples:,} samples of {found.split}{top1}; the most sensitive layer first")

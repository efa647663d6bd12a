"""Show a network's layers with their cost, and which formats can express it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table
from edgepress.cli._inputs import ModelInput, listed_formats, model_argument

if TYPE_CHECKING:
    from edgepress.cli._support import Support
    from edgepress.compress.prune_channels import Prunable
    from edgepress.cost import Cost, LayerCost
    from edgepress.program import Program


@click.command()
@model_argument
@click.option(
    "--to",
    "formats",
    metavar="FORMAT,...",
    help="Formats to check.  [default: all that are written from the network itself]",
)
@json_option
def command(model: ModelInput, formats: str | None, as_json: bool) -> None:
    """Print parameters, MACs, bytes and memory access of MODEL, per layer and in total; the groups of
    channels that pruning can remove; and for each format which operators can be written, and in which layers one
    cannot. Operators that cannot be counted are listed apart. Of a file that edgepress has converted, print what
    its manifest says: the graph's quality and the outcome of its verification."""
    from edgepress import convert, cost
    from edgepress.artifact import PROGRAM_FORMATS
    from edgepress.cli import _described
    from edgepress.cli._support import support
    from edgepress.compress.prune_channels import prunable
    from edgepress.compress.share_weights import shared

    made = _described.converted_file(model.text)
    file = {"file": _described.as_mapping(made)} if made else {}
    if made and not as_json:
        _described.show(made)
    if made and made.format not in (*convert.readable(), *PROGRAM_FORMATS):
        if as_json:
            print_json(file)
        return
    wanted = _direct() if formats is None else listed_formats(formats)
    program = model.load()
    measured = cost.measure(program)
    answers = [support(program, format) for format in wanted]
    channels = None if program.quantized is not None else prunable(program)
    if as_json:
        facts = _json(program, measured, channels) | {"shared": shared(program)}
        print_json(file | facts | _json_support(program, answers))
        return
    _show(program, measured)
    _show_shared(shared(program))
    if channels is not None:
        _show_channels(channels)
    _show_support(program, answers)


def _direct() -> list[str]:
    """The formats with one edge from a Program: to ask the others takes a conversion, of seconds."""
    from edgepress import convert

    return [format for format in convert.formats() if len(convert.route(format)) == 1]


def _show_support(program: Program, answers: list[Support]) -> None:
    from edgepress.cli._support import operators

    found = operators(program)
    rows = [
        [name, str(len(layers)), *(answer.of(name, layers, found) for answer in answers)]
        for name, layers in found.items()
    ]
    print_table(
        ["operator", "times", *(answer.format for answer in answers)],
        rows,
        title="Operators that the formats can express",
    )
    for answer in answers:
        if not answer.places:
            click.echo(f"{answer.format:<24} {answer.verdict}{_computing(program, answer)}")
        for place in answer.places:
            click.echo(f"{answer.format:<24} {place.told(place.reason)}")


def _computing(program: Program, answer: Support) -> str:
    """What the format's runtime computes a quantized network in, where it takes it."""
    from edgepress.backend_fit import FITS

    fit = FITS.get(answer.format)
    if program.quantized is None or fit is None or not answer.asked:
        return ""
    taken = fit.taken(program.quantized)
    return f"; {fit.runtime} computes in {taken.how}" + (f". {taken.say}" if taken.say else "")


def _json_support(program: Program, answers: list[Support]) -> dict[str, Any]:
    from edgepress.cli._support import operators
    from edgepress.options import to_mapping

    return {
        "formats": {answer.format: answer.verdict for answer in answers},
        "operators": {name: len(layers) for name, layers in operators(program).items()},
        "unsupported": {answer.format: [to_mapping(place) for place in answer.places] for answer in answers},
    }


def _show(program: Program, measured: Cost) -> None:
    columns = ["layer", "type", "output", "parameters", "MACs", "weight bytes", "accessed bytes"]
    print_table(columns, [_row(layer) for layer in measured.layers])
    for specs, kind in ((program.signature.inputs, "input"), (program.signature.outputs, "output")):
        for spec in specs:
            click.echo(f"{kind:<16} {spec}")
    for name, value in _totals(measured).items():
        click.echo(f"{name:<24} {value:,}")
    if program.quantized is not None:
        click.echo(f"{'quantized':<24} {program.quantized.name}")
    click.echo(f"{'history':<24} {', '.join(program.history.names()) or 'captured only'}")
    for layer in measured.uncounted:
        click.echo(f"not counted: {layer.name} ({layer.type})")


def _show_shared(weights: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [
        [name, *(f"{facts[key]:,}" for key in ("bits", "values", "nonzero", "coded_bytes"))]
        for name, facts in weights.items()
    ]
    if rows:
        columns = ["weight", "bits", "values", "not zero", "bytes, coded"]
        print_table(columns, rows, title="Weights that share values")


def _show_channels(channels: Prunable) -> None:
    rows = [[str(group.channels), ", ".join(group.layers)] for group in channels.groups]
    print_table(["channels", "made together by"], rows, title="Channels that pruning can remove")
    for name, reason in channels.stays.items():
        click.echo(f"stays: {name}: {reason}")


def _row(layer: LayerCost) -> list[str]:
    return [
        layer.name,
        layer.type,
        "x".join(str(size) for size in layer.output_shape),
        f"{layer.parameters:,}",
        "?" if layer.macs is None else f"{layer.macs:,}",
        f"{layer.weight_bytes:,}",
        f"{layer.accessed_bytes:,}",
    ]


def _totals(measured: Cost) -> dict[str, int]:
    return {
        "parameters": measured.parameters,
        "macs": measured.macs,
        "weight_bytes": measured.weight_bytes,
        "accessed_bytes": measured.accessed_bytes,
        "peak_activation_bytes": measured.peak_activation_bytes,
    }


def _json(program: Program, measured: Cost, channels: Prunable | None) -> dict[str, Any]:
    from edgepress.options import to_mapping

    return {
        "inputs": [str(spec) for spec in program.signature.inputs],
        "outputs": [str(spec) for spec in program.signature.outputs],
        "history": list(program.history.names()),
        "quantized": program.quantized.name if program.quantized else None,
        **_totals(measured),
        "layers": [to_mapping(layer) for layer in measured.layers],
        "uncounted": [layer.name for layer in measured.uncounted],
        "prunable": to_mapping(channels) if channels else None,
    }

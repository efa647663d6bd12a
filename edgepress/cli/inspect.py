"""Show a network's layers with their cost, and which formats can express it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table
from edgepress.cli._inputs import ModelInput, listed_formats, model_argument

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import Prunable
    from edgepress.cost import Cost, LayerCost
    from edgepress.program import Program


@click.command()
@model_argument
@click.option("--to", "formats", metavar="FORMAT,...", help="Formats to check.  [default: all]")
@json_option
def command(model: ModelInput, formats: str | None, as_json: bool) -> None:
    """Print parameters, MACs, bytes and memory access of MODEL, per layer and in total; the groups of
    channels that pruning can remove; and for each format whether every operator can be written.
    Operators that cannot be counted are listed apart."""
    from edgepress import convert, cost
    from edgepress.compress.prune_channels import prunable

    wanted = convert.formats() if formats is None else listed_formats(formats)
    program = model.load()
    measured = cost.measure(program)
    support = {format: _support(program, format) for format in wanted}
    channels = None if program.precision == "int8" else prunable(program)
    if as_json:
        print_json(_json(program, measured, channels) | {"formats": support})
        return
    _show(program, measured)
    if channels is not None:
        _show_channels(channels)
    for format, answer in support.items():
        click.echo(f"{format:<24} {answer}")


def _support(program: Program, format: str) -> str:
    """ "yes", or why not."""
    from edgepress import convert
    from edgepress.errors import BackendMissing, Unsupported

    try:
        convert.check(program, format)
    except (Unsupported, BackendMissing) as error:
        return " ".join(str(error).split())
    return "yes"


def _show(program: Program, measured: Cost) -> None:
    columns = ["layer", "type", "output", "parameters", "MACs", "weight bytes", "accessed bytes"]
    print_table(columns, [_row(layer) for layer in measured.layers])
    for specs, kind in ((program.signature.inputs, "input"), (program.signature.outputs, "output")):
        for spec in specs:
            click.echo(f"{kind:<16} {spec}")
    for name, value in _totals(measured).items():
        click.echo(f"{name:<24} {value:,}")
    click.echo(f"{'history':<24} {', '.join(program.history.names()) or 'captured only'}")
    for layer in measured.uncounted:
        click.echo(f"not counted: {layer.name} ({layer.type})")


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
        **_totals(measured),
        "layers": [to_mapping(layer) for layer in measured.layers],
        "uncounted": [layer.name for layer in measured.uncounted],
        "prunable": to_mapping(channels) if channels else None,
    }

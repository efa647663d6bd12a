"""List how each format's runtime takes a quantized network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_json, print_table

if TYPE_CHECKING:
    from edgepress.backend_fit import Fit, Taken


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List for each format what its runtime computes in when a network is quantized: integers; floats, though the file
    holds integers; or nothing, which is refused before any work."""
    from edgepress.backend_fit import FITS

    if as_json:
        print_json({format: _facts(fit) for format, fit in FITS.items()})
        return
    columns = ["format", "runtime", "int8", "int16", "dynamic", "weights alone", "groups", "4-bit weights"]
    print_table(columns, [[format, *_row(fit)] for format, fit in FITS.items()])
    for format, fit in FITS.items():
        zero = "about zero" if fit.symmetric else "with a zero point"
        click.echo(f"{format}: activations {fit.activations}, {zero}; weights: {fit.weights}; {fit.pairs}")
        for name, taken in _taken(fit).items():
            if taken.say:
                click.echo(f"  {name}: {taken.say}")


def _row(fit: Fit) -> list[str]:
    return [fit.runtime, *(taken.how for taken in _taken(fit).values()), fit.four_bits]


def _taken(fit: Fit) -> dict[str, Taken]:
    forms = {"weights alone" if name == "float" else name: taken for name, taken in fit.forms.items()}
    return {**forms, "groups": fit.groups}


def _facts(fit: Fit) -> dict[str, object]:
    plain = ("runtime", "activations", "symmetric", "weights", "pairs", "four_bits")
    taken = {name: {"how": taken.how, "say": taken.say} for name, taken in _taken(fit).items()}
    return {**{name: getattr(fit, name) for name in plain}, "forms": taken}

"""List how each format's runtime takes a quantized network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_json, print_table

if TYPE_CHECKING:
    from edgepress.backend_fit import Fit, Taken

COLUMNS = ["format", "runtime", "int8", "int16", "dynamic", "weights alone", "groups", "4-bit weights"]

HEAD = """# How each runtime takes a quantized network

Written by `edgepress forms --markdown`. `integers` and `floats` are what the runtime computes in, though the file holds
integers in both; `nothing` is refused before any work. int8 and int16 are the types of calibrated activations
(`quantize_static`), dynamic those whose range is found at run time (`quantize_dynamic`); weights alone, and in groups,
come from `quantize_weights`.
"""


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation.")
@json_option
def command(as_markdown: bool, as_json: bool) -> None:
    """List for each format what its runtime computes in when a network is quantized: integers; floats, though the file
    holds integers; or nothing, which is refused before any work."""
    from edgepress.backend_fit import FITS

    if as_json:
        print_json({format: _facts(fit) for format, fit in FITS.items()})
    elif as_markdown:
        click.echo(page(), nl=False)
    else:
        print_table(COLUMNS, [[format, *_row(fit)] for format, fit in FITS.items()])
        for format, fit in FITS.items():
            click.echo("\n  ".join(_sentences(format, fit)))


def page() -> str:
    """The table and what there is to say of it, in Markdown."""
    from edgepress.backend_fit import FITS

    rows = [COLUMNS, ["---"] * len(COLUMNS), *([format, *_row(fit)] for format, fit in FITS.items())]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    notes = "".join("\n  - ".join(_sentences(f"- **{format}**", fit)) + "\n" for format, fit in FITS.items())
    return f"{HEAD}\n{table}\n{notes}"


def _sentences(format: str, fit: Fit) -> list[str]:
    """What the runtime wants, then what there is to say of each form."""
    zero = "about zero" if fit.symmetric else "with a zero point"
    wanted = f"{format}: activations {fit.activations}, {zero}; weights: {fit.weights}; {fit.pairs}"
    return [wanted, *(f"{name}: {taken.say}" for name, taken in _taken(fit).items() if taken.say)]


def _row(fit: Fit) -> list[str]:
    return [fit.runtime, *(taken.how for taken in _taken(fit).values()), fit.four_bits]


def _taken(fit: Fit) -> dict[str, Taken]:
    forms = {"weights alone" if name == "float" else name: taken for name, taken in fit.forms.items()}
    return {**forms, "groups": fit.groups}


def _facts(fit: Fit) -> dict[str, object]:
    plain = ("runtime", "activations", "symmetric", "weights", "pairs", "four_bits")
    taken = {name: {"how": taken.how, "say": taken.say} for name, taken in _taken(fit).items()}
    return {**{name: getattr(fit, name) for name in plain}, "forms": taken}

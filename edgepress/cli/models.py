"""List the zoo, or show one network's card."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_json, print_table

if TYPE_CHECKING:
    from edgepress.models._card import Card


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the networks of the zoo; with NAME, its card and the options that --set takes."""
    from edgepress import models
    from edgepress.options import to_mapping

    chosen = (name,) if name else models.names()
    cards = {model: models.card_of(model) for model in chosen}
    if as_json:
        print_json({model: to_mapping(card) for model, card in cards.items()})
    elif name:
        _show(name, cards[name])
    else:
        columns = ["network", "parameters", "M MACs", "input", "data set", "published, %"]
        print_table(columns, [_row(model, card) for model, card in cards.items()])


def _row(model: str, card: Card) -> list[str]:
    measure, percent = card.figure
    return [
        model,
        f"{card.parameters:,}",
        f"{card.macs / 1e6:,.1f}",
        ", ".join(" x ".join(map(str, shape)) for shape in card.input_shapes()),
        card.dataset,
        "" if percent is None else f"{measure} {percent:.1f}",
    ]


def _show(name: str, card: Card) -> None:
    from edgepress import models

    build = models.find(name)
    measure, percent = card.figure
    click.echo(f"{name}: {inspect.getdoc(build)}")
    rows = [
        ["paper", card.paper],
        ["parameters", f"{card.parameters:,}"],
        ["MACs", f"{card.macs:,}"],
        [f"published {measure}", "not given" if percent is None else f"{percent} % on {card.dataset}"],
        ["figures from", card.source],
        ["input", str(card.preprocess) if card.preprocess else ", ".join(map(str, card.inputs))],
    ]
    rows += [
        [f"--set {option.name}", str(option.default)]
        for option in inspect.signature(build).parameters.values()
    ]
    for key, value in rows:
        click.echo(f"  {key:<18} {value}")

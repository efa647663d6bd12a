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
        columns = ["network", "parameters", "M MACs", "input", "data set", "top-1, %"]
        print_table(columns, [_row(model, card) for model, card in cards.items()])


def _row(model: str, card: Card) -> list[str]:
    height, width = card.preprocess.size
    top1 = "" if card.top1 is None else f"{card.top1:.1f}"
    return [
        model,
        f"{card.parameters:,}",
        f"{card.macs / 1e6:,.1f}",
        f"{height} x {width}",
        card.dataset,
        top1,
    ]


def _show(name: str, card: Card) -> None:
    from edgepress import models

    build = models.find(name)
    click.echo(f"{name}: {inspect.getdoc(build)}")
    rows = [
        ["paper", card.paper],
        ["parameters", f"{card.parameters:,}"],
        ["MACs", f"{card.macs:,}"],
        ["published top-1", "not given" if card.top1 is None else f"{card.top1} % on {card.dataset}"],
        ["figures from", card.source],
        ["input", str(card.preprocess)],
    ]
    rows += [
        [f"--set {option.name}", str(option.default)]
        for option in inspect.signature(build).parameters.values()
    ]
    for key, value in rows:
        click.echo(f"  {key:<18} {value}")

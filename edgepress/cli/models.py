"""List the zoo, or show one network: its card and a drawing of its stages."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_json, print_table, remark
from edgepress.errors import BadOption, UnknownName

if TYPE_CHECKING:
    from edgepress.models import Card, Part

TASKS = ("classification", "detection", "segmentation", "sequence", "generation")
"""Those of the cards: asking edgepress.models takes PyTorch, and --help should not."""
UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
LONGEST_BAR = 28


def _amount(text: str) -> float:
    """A number with k, M or G behind it for thousands, millions and thousands of millions."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    if not found:
        raise click.BadParameter(f"{text!r} is not a number such as 600M or 2.5G.")
    return float(found[1]) * UNITS[found[2]]


def _shape(text: str) -> tuple[int, ...]:
    """Sizes with x between them; one alone is both sides of a picture."""
    sizes = text.split("x")
    if not all(size.isdecimal() for size in sizes):
        raise click.BadParameter(f"{text!r} is not a size such as 224, 224x224 or 3x224x224.")
    return tuple(map(int, sizes * 2 if len(sizes) == 1 else sizes))


@dataclass(frozen=True)
class Filter:
    """Which networks to list; what is None does not matter."""

    task: str | None
    family: str | None
    most_parameters: float | None
    most_macs: float | None
    input: tuple[int, ...] | None

    def takes(self, family: str, card: Card) -> bool:
        return (
            self.task in (None, card.task)
            and self.family in (None, family)
            and (self.most_parameters is None or card.parameters <= self.most_parameters)
            and (self.most_macs is None or card.macs <= self.most_macs)
            and (
                self.input is None
                or any(shape[-len(self.input) :] == self.input for shape in card.input_shapes())
            )
        )


@click.command()
@click.argument("name", required=False)
@click.option("--task", type=click.Choice(TASKS), help="Only networks for this.")
@click.option("--family", metavar="NAME", help="Only networks of this family, as resnet.")
@click.option(
    "--max-parameters",
    "parameters",
    type=_amount,
    metavar="NUMBER",
    help="Only networks of at most so many, as 5M.",
)
@click.option(
    "--max-macs",
    "macs",
    type=_amount,
    metavar="NUMBER",
    help="Only networks of at most so many MACs, as 600M.",
)
@click.option("--input", "shape", type=_shape, metavar="SIZE", help="Only networks for 224, or 3x224x224.")
@json_option
def command(
    name: str | None,
    task: str | None,
    family: str | None,
    parameters: float | None,
    macs: float | None,
    shape: tuple[int, ...] | None,
    as_json: bool,
) -> None:
    """List the networks of the zoo; with NAME, its card, a drawing of its stages and the options that --set takes."""
    wanted = Filter(task, family, parameters, macs, shape)
    if name is None:
        _list(wanted, as_json)
    elif wanted == Filter(None, None, None, None, None):
        _show(name, as_json)
    else:
        raise BadOption(
            "--task and the other filters apply to the list, not to a single network.",
            where=name,
            hint="leave out the name or the filters",
        )


def _list(wanted: Filter, as_json: bool) -> None:
    from edgepress import models
    from edgepress.options import to_mapping

    families = {model: models.family_of(model) for model in models.names()}
    if wanted.family not in (None, *families.values()):
        raise UnknownName("family", str(wanted.family), sorted(set(families.values())))
    cards = {model: models.card_of(model) for model in families}
    cards = {model: card for model, card in cards.items() if wanted.takes(families[model], card)}
    if as_json:
        print_json({model: to_mapping(card) for model, card in cards.items()})
    elif cards:
        columns = ["network", "parameters", "M MACs", "input", "data set", "published, %"]
        print_table(columns, [_row(model, card) for model, card in cards.items()])
    else:
        remark("No network of the zoo is like that.")


def _row(model: str, card: Card) -> list[str]:
    return [
        model,
        f"{card.parameters:,}",
        f"{card.macs / 1e6:,.1f}",
        ", ".join(" x ".join(map(str, shape)) for shape in card.input_shapes()),
        card.dataset,
        _published(*card.figure),
    ]


def _show(name: str, as_json: bool) -> None:
    from edgepress import models
    from edgepress.options import to_mapping

    card, stages = models.card_of(name), models.outline(name)
    if as_json:
        print_json({name: {**to_mapping(card), "stages": [asdict(part) for part in stages]}})
        return
    click.echo(f"{name}: {inspect.getdoc(models.find(name))}")
    for key, value in _described(name, card):
        click.echo(f"  {key:<18} {value}")
    for line in drawing(card.input_shapes()[0], stages):
        click.echo(f"  {line}")
    if card.variants:
        _show_variants(card)


def _described(name: str, card: Card) -> list[tuple[str, str]]:
    from edgepress import models

    measure, percent = card.figure
    return [
        ("paper", card.paper),
        ("family", models.family_of(name)),
        ("task", card.task),
        ("parameters", f"{card.parameters:,}"),
        ("MACs", f"{card.macs:,}"),
        ("published", "no figure" if percent is None else f"{measure} {percent:g} % on {card.dataset}"),
        ("figures from", card.source),
        ("input", str(card.preprocess) if card.preprocess else ", ".join(map(str, card.inputs))),
        *(
            (f"--set {option.name}", str(option.default))
            for option in inspect.signature(models.find(name)).parameters.values()
        ),
    ]


def _show_variants(card: Card) -> None:
    rows = [
        [
            ",".join(f"{key}={value}" for key, value in variant.options.items()),
            f"{variant.parameters:,}",
            f"{variant.macs / 1e6:,.1f}",
            _published("top-1", variant.top1),
        ]
        for variant in card.variants
    ]
    print_table(["--set", "parameters", "M MACs", "published, %"], rows, title="Other forms")


def _published(measure: str, percent: float | None) -> str:
    return "" if percent is None else f"{measure} {percent:g}"


def drawing(taken: tuple[int, ...], stages: tuple[Part, ...]) -> list[str]:
    """Lines that show what becomes of an input of shape `taken`: for each stage how wide its features are, as a bar
    too, how many channels they have, what makes them and how often, and the parameters."""
    rows = [(taken, "input", "")]
    rows += [(part.shape, f"{part.name}{_times(part.repeats)}", f"{part.parameters:,}") for part in stages]
    sizes = [" x ".join(map(str, shape[1:])) for shape, _, _ in rows]
    widest = max(_side(shape) for shape, _, _ in rows)
    longest, named = max(map(len, sizes)), max(len(name) for _, name, _ in rows)
    lines = []
    for size, (shape, name, count) in zip(sizes, rows, strict=True):
        bar = "#" * max(1, round(LONGEST_BAR * _side(shape) / widest))
        channels = str(shape[0]) if shape else ""
        lines.append(
            f"{size:>{longest}} {channels:>6}  {bar:<{LONGEST_BAR}}  {name:<{named}}  {count:>12}".rstrip()
        )
    return lines


def _side(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) > 1 else 1


def _times(repeats: int) -> str:
    return f" x {repeats}" if repeats > 1 else ""

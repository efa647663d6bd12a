"""Compress a network by a recipe: prune, distill, fine-tune, quantize, in the order given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option
from edgepress.cli._inputs import (
    Command,
    DataInput,
    ModelInput,
    data_options,
    listed_formats,
    model_argument,
)
from edgepress.cli._runs import checked_folder, folder_options, run, show

if TYPE_CHECKING:
    from edgepress.recipe import Recipe

SHORTCUTS = {
    "prune": "prune_channels",
    "distill": "distill",
    "share": "share_weights",
    "fine_tune": "fine_tune",
    "quantize": "quantize_static",
    "qat": "quantize_aware",
}
"""Options that name a stage themselves; `--stage` takes any other."""

STAGES = "edgepress.stages"


class _InOrder(click.Command):
    """Keeps the stages in the order of the command line: click groups the values of each option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        named = [parameter.name for parameter in order if parameter.name in ("stage", *SHORTCUTS)]
        queues = {name: iter(values[name]) for name in named if name}
        ctx.meta[STAGES] = [_split(name, next(queues[name])) for name in named if name]
        return super().parse_args(ctx, args)


def _split(option: str, value: str) -> tuple[str, str]:
    """(stage, its options as text) of one use of a stage option."""
    if option in SHORTCUTS:
        return SHORTCUTS[option], value
    name, _, options = value.partition(":")
    return name, options


def _stage_option(flag: str, help: str, metavar: str = "KEY=VALUE,...") -> Callable[[Command], Command]:
    return click.option(flag, multiple=True, expose_value=False, metavar=metavar, help=help)


@click.command(cls=_InOrder)
@model_argument
@data_options
@click.option("-r", "--recipe", type=click.Path(path_type=Path), help="A recipe (YAML) in place of stages.")
@_stage_option(
    "--prune", "Remove whole channels: macs=0.5 keeps half of the MACs; or latency=0.6@cpu:litert."
)
@_stage_option("--share", "Let each layer's weights share a few values: bits=4, size=0.1 or sqnr_db=20.")
@_stage_option("--distill", "Train to the answers of a teacher: self (before compression) or a MODEL.")
@_stage_option("--fine-tune", "Train on the labels: epochs=5.")
@_stage_option("--quantize", "Calibrate and turn to 8-bit integers: int8.")
@_stage_option("--qat", "Train as quantized, then quantize: epochs=5; or weight_bits=4,activation_bits=4.")
@_stage_option("--stage", "Any stage (edgepress stages lists them).", "NAME[:KEY=VALUE,...]")
@click.option(
    "--for",
    "formats",
    metavar="FORMAT,...",
    help="Refuse, before any stage runs, what any of these formats cannot express.",
)
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples to evaluate with.  [default: all]")
@click.option("--save-recipe", is_flag=True, help="Print the recipe that these options mean, and stop.")
@folder_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: ModelInput,
    data: DataInput,
    folder: Path | None,
    recipe: Path | None,
    **flags: Any,
) -> None:
    """Compress MODEL stage by stage; the folder gets model.pt2, recipe.yaml and result.json.

    MODEL is a .pt2, .epz or .onnx file, a name of the zoo (edgepress models), or path/to/file.py:factory. Stages run in
    the order in which they are given.

    \b
    edgepress compress mobilenet_v2 --weights w.safetensors --data folder:./photos \\
        --prune macs=0.5 --distill self --quantize int8 --for onnx,tflite -o out
    """
    from edgepress.cli._compression import Compression

    wanted = _recipe(recipe, ctx.meta[STAGES])
    if flags["save_recipe"]:
        click.echo(wanted.to_yaml(), nl=False)
        return
    resume = flags["resume"]
    settled = checked_folder(folder, resume=resume, overwrite=flags["overwrite"])
    compression = Compression(
        folder=settled,
        recipe=wanted,
        data=data.open(),
        model=model.text,
        data_text=data.text or "",
        seed=data.seed,
        evaluate_limit=flags["limit"],
        formats=listed_formats(flags["formats"]) if flags["formats"] is not None else (),
    )
    show(run(compression, model, resume=resume), as_json=flags["as_json"])


def _recipe(path: Path | None, stages: list[tuple[str, str]]) -> Recipe:
    from edgepress import options, stage
    from edgepress.errors import UsageError
    from edgepress.recipe import Recipe

    if path is not None and stages:
        raise UsageError("A recipe file and stages as options exclude each other.", hint="give one of them")
    if path is not None:
        return Recipe.load(path)
    if not stages:
        raise UsageError("No stage is given.", hint="--prune macs=0.5, --quantize int8, or -r recipe.yaml")
    built = []
    for name, text in stages:
        found = stage.find(name)
        where = f"stage {name}"
        built.append(
            options.build(found, options.parse(text, where=where, shorthand=found.shorthand), where=where)
        )
    return Recipe(tuple(built))

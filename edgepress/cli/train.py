"""Train a network of the zoo, or your own, from the start or from given weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, print_table
from edgepress.cli._inputs import DataInput, ModelInput, data_options, model_argument
from edgepress.cli._processes import only_the_first_writes, rank
from edgepress.cli._runs import checked_folder, folder_options, is_done, run

if TYPE_CHECKING:
    from edgepress.result import RunResult

EPOCHS, RATE = 30, 0.05
"""More and larger than what fine_tune takes for a network that is trained already."""


@click.command()
@model_argument
@data_options
@click.option("--epochs", type=click.IntRange(1), default=EPOCHS, show_default=True)
@click.option(
    "--with",
    "training",
    metavar="KEY=VALUE,...",
    default="",
    help="Options of fine_tune: learning_rate=0.1,flip=true,random_crop=4.",
)
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples to evaluate with.  [default: all]")
@folder_options
@json_option
def command(
    model: ModelInput,
    data: DataInput,
    epochs: int,
    training: str,
    limit: int | None,
    folder: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train MODEL on the labels of --data; the folder gets model.pt2 and result.json.

    A network of the zoo gets as many classes as the data has. The training is the stage fine_tune: its best epoch on
    held-out samples is the result, and --resume goes on after the last whole epoch. Several processes or GPUs (it starts
    several on a machine without GPUs as well, with --multi_gpu; the results name how many took part):

    \b
    edgepress train resnet20 --data folder:./photos --epochs 60 --with flip=true,random_crop=4 -o trained
    accelerate launch --multi_gpu --num_processes 2 -m edgepress train resnet20 --data folder:./photos -o trained
    """
    import torch

    from edgepress.cli._compression import Compression
    from edgepress.compress.fine_tune import FineTune
    from edgepress.errors import UsageError
    from edgepress.options import build, parse
    from edgepress.recipe import Recipe

    torch.manual_seed(data.seed)  # fresh weights are random
    opened = data.open()
    if opened is None:
        raise UsageError("There is nothing to train on.", hint="--data folder:DIR, npz:FILE, digits")
    given = parse(training, where="--with")
    if "epochs" in given:
        raise UsageError("The epochs have an option of their own.", where="--with", hint="--epochs N")
    stage = build(FineTune, {"epochs": epochs, "learning_rate": RATE, **given}, where="--with")
    # The others begin a moment later, and would find what the first has written by then.
    where = checked_folder(folder, resume=resume, overwrite=overwrite) if rank() == 0 else Path(folder or "")
    with only_the_first_writes(where) as settled:
        compression = Compression(
            folder=settled.folder,
            recipe=Recipe((stage,)),
            data=opened,
            model=model.text,
            data_text=data.text or "",
            seed=data.seed,
            evaluate_limit=limit,
        )
        network = _with_classes(model, opened.class_count())
        if settled.is_first:
            _show(run(compression, network, resume=resume), as_json=as_json)
        elif not (resume and is_done(where)):
            run(compression, network, resume=False)


def _show(result: RunResult, *, as_json: bool) -> None:
    from edgepress.records import encode

    if as_json:
        click.echo(encode(result))
        return
    (stage,) = result.stages
    rows = [[name.replace("_", " "), _number(value)] for name, value in stage.results.items()]
    if stage.accuracy.before and stage.accuracy.after:
        rows.append([f"{stage.accuracy.before.name}, %, untrained", _number(stage.accuracy.before.percent)])
        rows.append([f"{stage.accuracy.after.name}, %, trained", _number(stage.accuracy.after.percent)])
    print_table(["", stage.name], rows)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _with_classes(model: ModelInput, classes: int | None) -> ModelInput:
    """MODEL with as many classes as the data has, where it is a network of the zoo and nobody has said otherwise."""
    from edgepress import models

    told = any("classes" in text for text in model.settings)
    if classes is None or told or model.text not in models.names():
        return model
    return dataclasses.replace(model, settings=(*model.settings, f"classes={classes}"))

"""The whole road on built-in real data, offline, in minutes: train, prune, distill, quantize, convert, verify, time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepress.cli._console import json_option, progress_bar
from edgepress.cli._inputs import FOLDER

if TYPE_CHECKING:
    from edgepress.data import Data
    from edgepress.program import Program
    from edgepress.progress import Progress
    from edgepress.recipe import Recipe

FORMATS = ("onnx", "tflite")


@click.command()
@click.option("-o", "--out", "folder", type=FOLDER, default="demo", show_default=True)
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Take a small MobileNet v2 and scikit-learn's 1,797 handwritten digits down the whole road.

    The folder gets every file of it, and report.html. The table at the end compares the original with
    the compressed network on PyTorch, ONNX Runtime and LiteRT.
    """
    from edgepress.benchmarks import Protocol
    from edgepress.benchmarks.report import picture
    from edgepress.cli._compression import Compression
    from edgepress.cli._conversion import require_verified
    from edgepress.cli._road import Road, check_installed, show
    from edgepress.data import open_data
    from edgepress.files import check_writable
    from edgepress.records import encode

    check_writable(folder)
    check_installed(FORMATS)
    data = open_data("digits")
    run = Compression(folder=folder, recipe=_recipe(), data=data, model="mobilenet_v2", data_text="digits")
    road = Road(compression=run, formats=FORMATS, protocol=Protocol(max_seconds=3))
    with progress_bar() as progress:
        finished = road.travel(_trained(data, progress), progress)
    if as_json:
        click.echo(encode(finished.result))
    else:
        show(finished, road)
        picture(folder)
    require_verified(finished.artifacts)


def _trained(data: Data, progress: Progress) -> Program:
    """A MobileNet v2 that reads digits. Its history is empty: training it is no compression."""
    import torch

    from edgepress import compress, models
    from edgepress.compress.fine_tune import FineTune
    from edgepress.history import History
    from edgepress.preprocess import Preprocess
    from edgepress.recipe import Recipe

    torch.manual_seed(0)
    preprocess = Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    untrained = models.load(
        "mobilenet_v2", input_shape=(3, 32, 32), options={"classes": 10, "width": 0.5}, preprocess=preprocess
    )
    training = FineTune(epochs=10, optimizer="adamw", learning_rate=4e-3, batch_size=32, holdout=0)
    trained = compress.apply(untrained, Recipe((training,)), data, progress=progress)
    return dataclasses.replace(trained, history=History())


def _recipe() -> Recipe:
    from edgepress.compress.distill import Distill
    from edgepress.compress.prune_channels import PruneChannels
    from edgepress.compress.quantize_static import QuantizeStatic
    from edgepress.recipe import Recipe

    recovery = Distill(epochs=8, optimizer="adamw", learning_rate=2e-3, batch_size=32, holdout=0)
    return Recipe((PruneChannels(macs=0.5, criterion="taylor"), recovery, QuantizeStatic()))

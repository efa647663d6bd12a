"""ResNet-56 on CIFAR-10, trained here from nothing, pruned 2.5 and 3.3 times: the published yardstick of channel pruning.

python benchmarks/suites/resnet56_pruning.py --data FOLDER

PocketFlow publishes losses of 0.4 and 0.7 points for these two, of a network trained to the end (93 %) and tuned
for hundreds of epochs. The training here is far shorter, as the table says: small pictures first, the
full size last. It takes hours on one core; what is finished is kept and found again.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from _suite import Suite, arguments, check, latency_ratio, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import compress, models
from edgepress.cli._console import progress_bar, remark
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels
from edgepress.data import Data
from edgepress.program import Program
from edgepress.recipe import Recipe

SCHEDULE = ((16, 8, 0.1), (24, 3, 0.05), (32, 1, 0.02))
"""(picture size, epochs, peak learning rate): half the work of training at the full size throughout."""

TUNING = Distill(
    epochs=2,
    learning_rate=0.02,
    batch_size=128,
    random_crop=4,
    flip=True,
    holdout=0,
    precision="bfloat16",
)
SPEEDUPS = (2.5, 3.3)
"""Of the multiply-accumulates, as published."""

LARGEST_LOSS_POINTS = {2.5: 0.4, 3.3: 0.7}


def main() -> bool:
    given = arguments(__doc__ or "")
    data = reference_networks().cifar10()
    program = trained(data, given.out / "resnet56")
    claims = []
    for speedup in SPEEDUPS:
        pruning = PruneChannels(macs=round(1 / speedup, 4), criterion="taylor")
        suite = Suite(name=f"resnet56_{speedup:g}x", recipe=Recipe((pruning, TUNING)), formats=("onnx",))
        finished = suite.run(program, data, given)
        before, after = finished.of("original.onnx").accuracy, finished.of("model.onnx").accuracy
        remark(f"{speedup:g}x fewer MACs: {1 / latency_ratio(finished, 'onnx'):.2f}x faster")
        if before and after:
            lost = before.percent - after.percent
            claims.append(check(f"points lost at {speedup:g}x", lost, LARGEST_LOSS_POINTS[speedup]))
    return all(claims)


def trained(data: Data, folder: Path) -> Program:
    """The network after SCHEDULE; every finished part of it is saved in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program: Program | None = None
    for size, epochs, learning_rate in SCHEDULE:
        path = folder / f"{size}.pt2"
        if path.exists():
            program = Program.load(path)
            continue
        training = FineTune(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=128,
            random_crop=size // 8,
            flip=True,
            holdout=0,
            precision="bfloat16",
        )
        fresh = models.load("resnet56", input_shape=(3, size, size))
        if program is not None:
            fresh = _with_weights_of(program, fresh)
        with progress_bar() as progress:
            program = compress.apply(fresh, Recipe((training,)), data, progress=progress)
        program.save(path)
        remark(f"trained {epochs} epochs at {size} x {size} pixels")
    assert program is not None
    return dataclasses.replace(program, labels=data.class_names)


def _with_weights_of(program: Program, fresh: Program) -> Program:
    module = fresh.module()
    module.load_state_dict(program.module().state_dict())
    return fresh.replace(module)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

"""ResNet-20 on CIFAR-10 with single weights pruned: accuracy, size behind deflate, and that ONNX Runtime is no faster.

python benchmarks/suites/sparse_weights.py --data FOLDER
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from _suite import Suite, arguments, check, latency_ratio, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress.cli._console import print_table
from edgepress.cli._road import Finished
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_weights import PruneWeights
from edgepress.recipe import Recipe
from edgepress.stage import Stage

TRAINING_SAMPLES = 10_000
TUNING = FineTune(epochs=1, learning_rate=0.01, batch_size=128, random_crop=4, flip=True, holdout=0)
VARIANTS: dict[str, tuple[Stage, ...]] = {
    "50 %": (PruneWeights(sparsity=0.5),),
    "70 %": (PruneWeights(sparsity=0.7),),
    "90 %": (PruneWeights(sparsity=0.9),),
    "90 %, batch-norm as it was": (PruneWeights(sparsity=0.9, recalibrate_batch_norm=False),),
    "90 %, one epoch": (PruneWeights(sparsity=0.9), TUNING),
    "2:4": (PruneWeights(pattern="2:4"),),
}
LARGEST_DROP_AT_HALF_POINTS = 4.0
PEER_TOP1_AT_90_PERCENT = 16.6
"""What a peer's one-shot global L1 left of another checkpoint of this network."""


@dataclass(frozen=True)
class Row:
    """One variant. `deflated` and `latency` are shares of the original's: bytes behind deflate, and milliseconds."""

    top1: float
    lost_points: float
    nonzero: float
    deflated: float
    latency: float

    @classmethod
    def of(cls, finished: Finished) -> Row:
        before, after = finished.result.original, finished.result.compressed
        top1 = [facts.accuracy.percent if facts.accuracy else math.nan for facts in (before, after)]
        return cls(
            top1[1],
            top1[0] - top1[1],
            _share(after.nonzero, before.nonzero),
            _share(after.deflated_bytes, before.deflated_bytes),
            latency_ratio(finished, "onnx"),
        )

    def cells(self, name: str) -> list[str]:
        shares = (f"{share:.3f}" for share in (self.nonzero, self.deflated, self.latency))
        return [name, f"{self.top1:.2f}", f"{self.lost_points:.2f}", *shares]


def _share(after: int | None, before: int | None) -> float:
    return after / before if after is not None and before else math.nan


def main() -> bool:
    given = arguments(__doc__ or "")
    networks = reference_networks()
    data = networks.cifar10(train_limit=TRAINING_SAMPLES)
    rows = {}
    for number, (name, stages) in enumerate(VARIANTS.items(), 1):
        suite = Suite(name=f"sparse_weights/{number}", recipe=Recipe(stages), formats=("onnx",))
        rows[name] = Row.of(suite.run(networks.resnet20(), data, given))
    columns = ["zeros", "top-1, %", "points lost", "nonzero", "deflated bytes", "ONNX latency"]
    print_table(columns, [row.cells(name) for name, row in rows.items()])
    return all(
        [
            check("points lost at 50 % zeros", rows["50 %"].lost_points, LARGEST_DROP_AT_HALF_POINTS),
            check("top-1 at 90 % zeros", rows["90 %"].top1, PEER_TOP1_AT_90_PERCENT, at_most=False),
            check("deflated bytes over the original's at 50 % zeros", rows["50 %"].deflated, 0.6),
            check("deflated bytes over the original's at 90 % zeros", rows["90 %"].deflated, 0.16),
        ]
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

"""ResNet-20 on CIFAR-10: the original against the network with half of its MACs, on ONNX Runtime, interleaved.

python benchmarks/suites/resnet20_pruning.py --data FOLDER
"""

from __future__ import annotations

import sys

from _suite import Suite, arguments, check, latency_ratio, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress.compress.distill import Distill
from edgepress.compress.prune_channels import PruneChannels
from edgepress.recipe import Recipe

TUNING = Distill(epochs=3, learning_rate=0.05, batch_size=128, random_crop=4, flip=True, holdout=0)
"""The peer's schedule (Nesterov momentum, one cycle to a rate of 0.05, batches of 128, shifted and mirrored
pictures), with the unpruned network as the teacher."""

SUITE = Suite(
    name="resnet20_pruning",
    recipe=Recipe((PruneChannels(macs=0.5, criterion="taylor"), TUNING)),
    formats=("onnx",),
)
SMALLEST_SPEEDUP = 1.25
PEER_TOP1 = 85.99
"""What a peer kept of this very checkpoint: half the MACs by group L2, 3 epochs of fine-tuning."""


def main() -> bool:
    given = arguments(__doc__ or "")
    networks = reference_networks()
    finished = SUITE.run(networks.resnet20(), networks.cifar10(), given)
    claims = [
        check("speedup on ONNX Runtime", 1 / latency_ratio(finished, "onnx"), SMALLEST_SPEEDUP, at_most=False)
    ]
    macs = finished.result.compressed.macs / finished.result.original.macs
    claims.append(check("MACs over the original's", macs, 0.5))
    accuracy = finished.of("model.onnx").accuracy
    if accuracy:
        claims.append(check("top-1 on ONNX Runtime", accuracy.top1, PEER_TOP1, at_most=False))
    return all(claims)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

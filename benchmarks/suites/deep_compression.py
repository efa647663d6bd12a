"""Pruning, weight sharing and coded storage on real networks: bytes on disk, all included, and accuracy.

python benchmarks/suites/deep_compression.py --data FOLDER

The reference SqueezeNet is Deep Compression's own (Han et al., 2016), decoded: two thirds of its weights are zero and each
layer takes 255 values besides. So its first row says what our coder makes of that network without any loss, to
be held against the 0.66 MB that the paper stores it in with 8 bits. The rows below are our own sharing, and our own pruning
with sharing, of what it left; 0.47 MB is the paper's figure with 6 bits. How layers share was chosen on calibration pictures,
80 of which were held back, and the size to stay below 470,000 bytes. What pruning it further costs is printed and not
claimed: there are no labelled pictures at hand to train it back with. ResNet-20 comes dense.
"""

from __future__ import annotations

import argparse
import lzma
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from _suite import arguments, check, reference_networks  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import compress, convert
from edgepress.accuracy import evaluate
from edgepress.cli._console import print_table, progress_bar, remark
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.share_weights import ShareWeights
from edgepress.data import Data
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.stage import Stage

TRAINING_SAMPLES = 10_000
TUNING = FineTune(epochs=1, learning_rate=0.01, batch_size=128, random_crop=4, flip=True, holdout=0)
SQUEEZENET: dict[str, tuple[Stage, ...]] = {
    "as it came": (),
    "shared": (ShareWeights(size=0.0914, samples=128),),
    "pruned, shared": (PruneWeights(sparsity=0.7), ShareWeights(size=0.07, samples=128)),
}
RESNET20: dict[str, tuple[Stage, ...]] = {
    "as it came": (),
    "half zeros, shared, one epoch": (PruneWeights(sparsity=0.5), ShareWeights(sqnr_db=20), TUNING),
}
MIB = 2**20
"""The paper's MB: its 4.8 for SqueezeNet are 1.25 million weights of 4 bytes."""
LARGEST_FILE_KB = 470.0
LARGEST_DROP_POINTS = 0.5
LEAST_RATIO_OF_RESNET20 = 8.0


@dataclass(frozen=True)
class Row:
    """One variant: accuracy, and bytes of the `.pt2` as it is, behind general compressors, and in our two coders."""

    top1: float
    pt2: int
    zlib: int
    lzma: int
    huffman: int
    coded: int

    @classmethod
    def of(cls, program: Program, data: Data, folder: Path, limit: int | None) -> Row:
        whole = program.save(folder / "model.pt2").path.read_bytes()
        coded = {
            coder: convert.to(program, "epz", folder / f"{coder}.epz", {"coder": coder}).manifest.size_bytes
            for coder in ("huffman", "smallest")
        }
        decoded = Program.load(folder / "smallest.epz")
        with progress_bar() as progress:
            accuracy = evaluate(decoded.run, data, program.preprocess, limit=limit, progress=progress)
        squeezed = len(zlib.compress(whole, 9)), len(lzma.compress(whole))
        return cls(accuracy.percent, len(whole), *squeezed, coded["huffman"], coded["smallest"])

    def cells(self, name: str) -> list[str]:
        sizes = (self.pt2, self.zlib, self.lzma, self.huffman, self.coded)
        return [name, f"{self.top1:.2f}", *(f"{size:,}" for size in sizes), f"{self.pt2 / self.coded:.1f}"]


def rows(
    name: str,
    original: Program,
    data: Data,
    variants: Mapping[str, tuple[Stage, ...]],
    given: argparse.Namespace,
) -> dict[str, Row]:
    found = {}
    for number, (variant, stages) in enumerate(variants.items()):
        with progress_bar() as progress:
            program = (
                compress.apply(original, Recipe(stages), data, progress=progress) if stages else original
            )
        folder = given.out / "deep_compression" / f"{name}-{number}"
        found[variant] = Row.of(program, data, folder, given.evaluate)
        remark(f"{name}, {variant}: {found[variant].top1:.2f} %, {found[variant].coded:,} bytes")
    columns = ["", "top-1, %", ".pt2", "zlib", "LZMA", "Huffman (.epz)", "smallest (.epz)", "times smaller"]
    print_table(columns, [row.cells(variant) for variant, row in found.items()], title=name)
    return found


def main() -> bool:
    given = arguments(__doc__ or "")
    networks = reference_networks()
    squeezenet = rows("SqueezeNet 1.0", networks.squeezenet(), networks.imagenet_sample(), SQUEEZENET, given)
    cifar10 = networks.cifar10(train_limit=TRAINING_SAMPLES)
    resnet20 = rows("ResNet-20", networks.resnet20(), cifar10, RESNET20, given)
    came, shared, further = squeezenet.values()
    dense, small = resnet20.values()
    return all(
        [
            check("SqueezeNet as it came: MiB, nothing lost", came.coded / MIB, 0.66),
            check("the same over LZMA of the .pt2", came.coded / came.lzma, 1.0),
            check("the same over our Huffman coder", came.coded / came.huffman, 1.0),
            check("SqueezeNet shared: kB", shared.coded / 1000, LARGEST_FILE_KB),
            check("SqueezeNet shared: top-1 points lost", came.top1 - shared.top1, LARGEST_DROP_POINTS),
            check("SqueezeNet pruned and shared: kB", further.coded / 1000, LARGEST_FILE_KB),
            check(
                "ResNet-20: times smaller",
                dense.pt2 / small.coded,
                LEAST_RATIO_OF_RESNET20,
                at_most=False,
            ),
            check("ResNet-20: top-1 points lost", dense.top1 - small.top1, 1.5),
        ]
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

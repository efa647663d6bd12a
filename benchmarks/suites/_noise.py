"""Random pictures and settled networks, for suites that look at files and not at accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from edgepress.data import Batch, Data, Split
from edgepress.preprocess import Preprocess
from edgepress.program import Program


class Noise(Data):
    """Random pictures, the same for all who ask: the networks are untrained, and neither speed nor parity depends on it."""

    name = "noise"

    def __init__(self, shape: tuple[int, ...], samples: int = 16) -> None:
        self.pictures = np.random.default_rng(3).standard_normal((samples, *shape), np.float32)

    def count(self, split: Split) -> int:
        return len(self.pictures)

    def batches(
        self,
        split: Split,
        preprocess: Preprocess | None,
        *,
        batch_size: int = 64,
        skip: int = 0,
        limit: int | None = None,
        shuffle_seed: int | None = None,
    ) -> Iterator[Batch]:
        pictures = self.pictures[skip:][:limit]
        for start in range(0, len(pictures), batch_size):
            yield Batch((pictures[start : start + batch_size],))


def settled(program: Program) -> Program:
    """With statistics that the batch norms have seen, so that int8 has ranges to work with."""
    module = program.module().train()
    with torch.no_grad():
        for seed in range(5):
            module(*program.example_tensors(4, seed))
    return program.replace(module)

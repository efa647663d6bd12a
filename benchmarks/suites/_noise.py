"""Random pictures and settled networks, for suites that look at files and not at accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from edgepress.data import Batch, Data, Split
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.signature import Signature


class Examples(Data):
    """Random inputs of any network, the same for all who ask."""

    name = "examples"

    def __init__(self, signature: Signature, samples: int = 16) -> None:
        self.inputs = signature.example(samples, seed=3)

    def count(self, split: Split) -> int:
        return len(self.inputs[0])

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
        chosen = range(self.count(split))[skip:][:limit]
        for start in range(0, len(chosen), batch_size):
            part = chosen[start : start + batch_size]
            yield Batch(tuple(array[part.start : part.stop] for array in self.inputs))


class Noise(Examples):
    """Random pictures: the networks are untrained, and neither speed nor parity depends on what is seen."""

    name = "noise"

    def __init__(self, shape: tuple[int, ...], samples: int = 16) -> None:
        self.pictures = np.random.default_rng(3).standard_normal((samples, *shape), np.float32)
        self.inputs = (self.pictures,)


def settled(program: Program) -> Program:
    """With statistics that the batch norms have seen, so that int8 has ranges to work with."""
    module = program.module().train()
    with torch.no_grad():
        for seed in range(5):
            module(*program.example_tensors(4, seed))
    return program.replace(module)

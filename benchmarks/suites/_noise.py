"""Random pictures and settled networks, for suites that look at files and not at accuracy."""

from __future__ import annotations

import numpy as np
import torch

from edgepress.data._indexed import IndexedData
from edgepress.preprocess import Preprocess
from edgepress.program import Program


class Examples(IndexedData):
    """Arrays that lie in memory, one for each input, the same samples for every split and for all who ask."""

    def __init__(self, *inputs: np.ndarray) -> None:
        samples = np.arange(len(inputs[0]))
        super().__init__("examples", dict.fromkeys(("train", "calibrate", "evaluate"), samples), labels=None)
        self.inputs = inputs

    def read(self, indices: np.ndarray, preprocess: Preprocess | None) -> tuple[np.ndarray, ...]:
        return tuple(array[indices] for array in self.inputs)


def noise(shape: tuple[int, ...], samples: int = 16) -> Examples:
    """Random pictures: the networks are untrained, and neither speed nor parity depends on what is seen."""
    return Examples(np.random.default_rng(3).standard_normal((samples, *shape), np.float32))


def settled(program: Program) -> Program:
    """With statistics that the batch norms have seen, so that int8 has ranges to work with."""
    module = program.module().train()
    with torch.no_grad():
        for seed in range(5):
            module(*program.example_tensors(4, seed))
    return program.replace(module)

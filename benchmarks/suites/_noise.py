"""Random pictures and settled networks, for suites that look at files and not at accuracy."""

from __future__ import annotations

import numpy as np
import torch

from edgepress.data._arrays import ArrayData
from edgepress.program import Program


def noise(shape: tuple[int, ...], samples: int = 16) -> ArrayData:
    """Random pictures: the networks are untrained, and neither speed nor parity depends on what is seen."""
    return ArrayData(np.random.default_rng(3).standard_normal((samples, *shape), np.float32))


def settled(program: Program) -> Program:
    """With statistics that the batch norms have seen, so that int8 has ranges to work with."""
    module = program.module().train()
    with torch.no_grad():
        for seed in range(5):
            module(*program.example_tensors(4, seed))
    return program.replace(module)

"""Random pictures and settled networks, for suites that look at files and not at accuracy."""

from __future__ import annotations

import sys

import numpy as np
from _suite import ROOT  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress.data._arrays import ArrayData
from edgepress.program import Program

sys.path.append(str(ROOT / "tests"))
import settled_networks  # type: ignore[import-not-found]  # noqa: E402  tests/ is no package


def noise(shape: tuple[int, ...], samples: int = 16) -> ArrayData:
    """Random pictures: the networks are untrained, and neither speed nor parity depends on what is seen."""
    return ArrayData(np.random.default_rng(3).standard_normal((samples, *shape), np.float32))


def settled(program: Program) -> Program:
    """With statistics that the batch norms have seen, so that int8 has ranges to work with."""
    made: Program = settled_networks.settled(program, (program.example_tensors(4, seed) for seed in range(5)))
    return made

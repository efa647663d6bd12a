"""What holds for every test: one thread, fixed seeds, and `import shared_data`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402  after OMP_NUM_THREADS, which it reads once

import edgepress  # noqa: E402, F401  before the path is longer: tests/edgepress has the package's name

sys.path.append(str(Path(__file__).parent))


def pytest_sessionstart() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)

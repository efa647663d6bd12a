"""What a compressed network's output keeps of the original's."""

from __future__ import annotations

import numpy as np

from edgepress.program import Program
from edgepress.sqnr import recorded_db
from edgepress.stage import Context

BATCH = 16


class Kept:
    """The first output of the original on calibration samples, to hold compressed networks against."""

    def __init__(self, original: Program, context: Context, samples: int) -> None:
        data = context.required_data()
        batches = data.batches("calibrate", original.preprocess, batch_size=BATCH, limit=samples)
        self._expected = [(batch.inputs, original.run(*batch.inputs)[0]) for batch in batches]

    def sqnr_db(self, made: Program) -> float:
        signal = noise = 0.0
        for inputs, expected in self._expected:
            signal += float(np.square(expected, dtype=np.float64).sum())
            noise += float(np.square(made.run(*inputs)[0] - expected, dtype=np.float64).sum())
        return recorded_db(signal, noise)

"""What a compressed network's output keeps of the original's."""

from __future__ import annotations

import numpy as np

from edgepress.program import Program
from edgepress.sqnr import recorded_db
from edgepress.stage import Context

BATCH = 16


def output_sqnr_db(original: Program, made: Program, context: Context, samples: int) -> float:
    """Of the first output on calibration samples, in dB."""
    signal = noise = 0.0
    data = context.required_data()
    for batch in data.batches("calibrate", original.preprocess, batch_size=BATCH, limit=samples):
        expected, got = (network.run(*batch.inputs)[0].astype(np.float64) for network in (original, made))
        signal += float(np.square(expected).sum())
        noise += float(np.square(got - expected).sum())
    return recorded_db(signal, noise)

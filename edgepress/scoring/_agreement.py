"""How far two executors find the same in the same pictures, whichever rows of their outputs it stands in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepress.detection import Detections, Reading, overlaps


class AgreementTally:
    """Collects what `reading` finds in the outputs of both.

    The reference's boxes, the best first, each take the box of their class that they overlap most of those still free.
    Such a pair is worth the lower of its two scores, times its overlap; a box that one of both has alone, nothing.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.shared = self.found = 0.0

    def add(self, reference: Sequence[np.ndarray], candidate: Sequence[np.ndarray]) -> None:
        pictures = zip(self.reading.decode(reference), self.reading.decode(candidate), strict=True)
        for ours, theirs in pictures:
            self.found += (float(ours.scores.sum()) + float(theirs.scores.sum())) / 2
            self.shared += sum(_shared(ours, theirs, number) for number in np.unique(ours.classes))

    @property
    def percent(self) -> float | None:
        """What the pairs are worth, over the mean of the two sums of scores; None where neither found anything."""
        return 100 * self.shared / self.found if self.found else None


def _shared(ours: Detections, theirs: Detections, number: int) -> float:
    """What the pairs of one class are worth in one picture."""
    first, second = ours.classes == number, theirs.classes == number
    shares = overlaps(ours.boxes[first].astype(np.float64), theirs.boxes[second].astype(np.float64))
    worth = shares * np.minimum(ours.scores[first][:, None], theirs.scores[second])
    total = 0.0
    for row in range(len(shares) if shares.shape[1] else 0):
        nearest = int(shares[row].argmax())
        total += float(worth[row, nearest])
        if shares[row, nearest] > 0:
            shares[:, nearest] = worth[:, nearest] = 0
    return total

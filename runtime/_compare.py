"""How far the outputs of one executor depart from those of another on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from edgepress.artifact import Precision
from edgepress.detection import Reading
from edgepress.errors import BadInput, VerificationFailed
from edgepress.scoring import AgreementTally
from edgepress.sqnr import decibel

Run = Callable[..., tuple[np.ndarray, ...]]

HINT = "for int8, calibrate with more or better samples"
AMPLIFIES = (
    "computed in float64, the network agrees with itself by {:.1f} dB: it amplifies roundings, "
    "and its accuracy (--max-drop, with --data) says more than its outputs"
)
AMPLIFIED_DB = 6.0
"""How much less than with itself a network agrees with a sound file of it: both round once, and a runtime that computes
otherwise rounds in more places."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Over all samples, of the output that departs most: so a large one hides no small one. `max_error` is absolute;
    `relative_error` divides it by the largest reference value; `sqnr_db` is the reference's energy over the error's
    (infinite: bit for bit equal); `top1_agreement`, of the first output, in percent. `output_sqnr_db` has them all.

    `found_agreement`, in percent, is of detectors whose rows have no places of their own: how far both find the same (see
    edgepress.scoring). It is None for all other networks, and where nothing is found.
    """

    samples: int
    max_error: float
    relative_error: float
    sqnr_db: float
    top1_agreement: float
    output_sqnr_db: tuple[float, ...]
    found_agreement: float | None = None

    def within(self, min_sqnr_db: float, min_agreement: float = 100.0) -> bool:
        """Whether the outputs are this close row by row or, where rows are ranked, in what is found."""
        finds_the_same = self.found_agreement is not None and self.found_agreement >= min_agreement
        return self.sqnr_db >= min_sqnr_db or finds_the_same

    def error(
        self,
        min_sqnr_db: float,
        min_agreement: float = 100.0,
        *,
        where: str,
        layers_told: bool = False,
        own_db: float | None = None,
    ) -> VerificationFailed | None:
        """The error to raise; None when the outputs are at least this close. layers_told: whether the user has been told
        which layer departs first; own_db: how far the reference agrees with itself, computed in float64."""
        if self.within(min_sqnr_db, min_agreement):
            return None
        found = ""
        if self.found_agreement is not None:
            found = f"; what is found agrees by {self.found_agreement:.1f} %, limit {min_agreement:.1f} %"
        amplifies = own_db is not None and own_db < self.sqnr_db + AMPLIFIED_DB
        hint = AMPLIFIES.format(own_db) if amplifies else HINT
        return VerificationFailed(
            f"The outputs differ too much: SQNR {self.sqnr_db:.1f} dB, limit {min_sqnr_db:.1f} dB "
            f"(largest error {self.max_error:.3g}, top-1 agreement {self.top1_agreement:.1f} %){found}.",
            where=where,
            hint=hint
            if layers_told
            else f"edgepress verify --layers names the first layer that differs; {hint}",
        )

    def require(self, min_sqnr_db: float, min_agreement: float = 100.0, *, where: str) -> None:
        """Raise VerificationFailed unless the outputs are at least this close."""
        if error := self.error(min_sqnr_db, min_agreement, where=where):
            raise error


def compare(
    reference: Run,
    candidate: Run,
    batches: Iterable[tuple[np.ndarray, ...]],
    reading: Reading | None = None,
) -> Comparison:
    """Run both on every batch and compare all outputs, and what a detector finds by its `reading`. Raises BadInput for no
    batches, VerificationFailed for outputs of different number or shape or with NaN."""
    tally = _Tally(reading if reading is not None and reading.is_ranked else None)
    for inputs in batches:
        tally.add(reference(*inputs), candidate(*inputs))
    return tally.result()


def limit_db(reference: Precision, candidate: Precision) -> float:
    """The SQNR below which an artifact counts as wrong.

    Float runtimes differ by the order of their sums, 1e-5 of the largest value at worst: 60 dB is
    far below that. Half precision has 11 bits: 35 dB leaves room for a deep network. Two integer
    executions of the same quantized graph round differently by at most a step here and there, which
    deep networks amplify: 20 dB. An integer network, or one of 16 values a tensor, against its float original: 10 dB.
    """
    kinds = {reference, candidate}
    if kinds == {"int8"}:
        return 20.0
    if kinds & {"int8", "palette4"}:
        return 10.0
    return 35.0 if "float16" in kinds else 60.0


def limit_agreement(reference: Precision, candidate: Precision) -> float:
    """How much of what is found must be found alike, in percent, where rows are ranked; below it an artifact counts as wrong.

    Floats swap rows that are equal but for the order of sums, and one at the end of the list may be another: 99. Half
    precision swaps some more: 95. Eight bits move boxes and scores by a hundredth or so and exchange the faintest boxes,
    which are 94 to 99 in working networks, and 55 in one that sees half of each filter's window: 80.
    """
    kinds = {reference, candidate}
    if kinds & {"int8", "palette4"}:
        return 80.0
    return 95.0 if "float16" in kinds else 99.0


class _Tally:
    def __init__(self, reading: Reading | None) -> None:
        self.samples = self.agreeing = 0
        self.outputs: list[_OutputTally] = []
        self.agreement = AgreementTally(reading) if reading else None

    def add(self, expected: tuple[np.ndarray, ...], got: tuple[np.ndarray, ...]) -> None:
        shapes = [tuple(array.shape for array in arrays) for arrays in (expected, got)]
        if shapes[0] != shapes[1]:
            raise VerificationFailed(
                f"The outputs have the shapes {shapes[1]} instead of {shapes[0]}.",
                hint="convert it again, or compare it with the network that it was made from",
            )
        self.outputs = self.outputs or [_OutputTally() for _ in expected]
        for output, want, have in zip(self.outputs, expected, got, strict=True):
            output.add(want.astype(np.float64), have.astype(np.float64))
        if self.agreement is not None:
            self.agreement.add(expected, got)
        count = len(expected[0])
        self.samples += count
        rows = (outputs[0].reshape(count, -1).argmax(1) for outputs in (expected, got))
        self.agreeing += int(np.equal(*rows).sum())

    def result(self) -> Comparison:
        if not self.samples:
            raise BadInput("There is nothing to compare on.", hint="check --data")
        worst = min(self.outputs, key=lambda output: output.sqnr_db)
        return Comparison(
            samples=self.samples,
            max_error=worst.worst,
            relative_error=worst.worst / worst.largest if worst.largest else worst.worst,
            sqnr_db=worst.sqnr_db,
            top1_agreement=100 * self.agreeing / self.samples,
            output_sqnr_db=tuple(output.sqnr_db for output in self.outputs),
            found_agreement=self.agreement.percent if self.agreement else None,
        )


class _OutputTally:
    """Of one output: energies of the reference and the error, the largest value and the largest error."""

    def __init__(self) -> None:
        self.signal = self.noise = self.largest = self.worst = 0.0

    def add(self, want: np.ndarray, have: np.ndarray) -> None:
        if not np.isfinite(have).all():
            raise VerificationFailed(
                "The outputs contain NaN or infinity.",
                hint="edgepress verify REFERENCE FILE --layers finds the layer",
            )
        self.signal += float(np.square(want).sum())
        self.noise += float(np.square(have - want).sum())
        self.largest = max(self.largest, float(np.abs(want).max(initial=0)))
        self.worst = max(self.worst, float(np.abs(have - want).max(initial=0)))

    @property
    def sqnr_db(self) -> float:
        return decibel(self.signal, self.noise)

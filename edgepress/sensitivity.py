"""`sensitivity.json`: how accurate a network stays when one part of it alone is compressed, by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgepress import records
from edgepress.accuracy import Score
from edgepress.data import Split
from edgepress.history import Value

SENSITIVITY_FILE = "sensitivity.json"
QUANTIZATION_FILE = "quantization_sensitivity.json"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One part compressed alone: of its channels the share `ratio`, which were `removed`, and the network then."""

    ratio: float
    removed: int
    macs: int
    parameters: int
    accuracy: Score


@dataclass(frozen=True, kw_only=True)
class Part:
    """What can only be compressed together: the layers that make its channels. `trials` by rising ratio."""

    layers: tuple[str, ...]
    channels: int
    trials: tuple[Trial, ...] = ()

    @property
    def name(self) -> str:
        return ", ".join(self.layers)

    def trial(self, ratio: float) -> Trial | None:
        """The trial at this ratio; None where there is none yet."""
        return next((trial for trial in self.trials if trial.ratio == ratio), None)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked of which network. `network` is a hash of its graph and weights, `samples` one of what it was
    evaluated on: the answers to equal questions belong together, so that an interrupted scan can go on."""

    of: Literal["pruning"] = "pruning"
    network: str
    samples: str
    data: str
    split: Split
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The answers so far: each part's trials, in the order of the network.

    `original` is the whole network as it came, `reference` with its batch-norms measured anew as in the trials:
    drops are from that, so that they are the pruning's alone.
    """

    question: Question
    original: Score
    reference: Score
    macs: int
    parameters: int
    parts: tuple[Part, ...]

    def ratios(self) -> tuple[float, ...]:
        """Every ratio that was tried on some part, rising."""
        return tuple(sorted({trial.ratio for part in self.parts for trial in part.trials}))

    def drop(self, trial: Trial) -> float:
        """Points of top-1 that the trial costs; below zero where it gains."""
        return self.reference.percent - trial.accuracy.percent

    def mean_drop(self, part: Part) -> float | None:
        """Over the part's trials; None while it has none."""
        drops = [self.drop(trial) for trial in part.trials]
        return sum(drops) / len(drops) if drops else None

    def most_sensitive_first(self) -> list[Part]:
        """The parts by their mean drop; those without trials last."""

        def rank(part: Part) -> float:
            drop = self.mean_drop(part)
            return math.inf if drop is None else -drop

        return sorted(self.parts, key=rank)

    @classmethod
    def load(cls, folder: Path) -> Sensitivity:
        """Read the folder's `sensitivity.json`; BadInput when it is missing or does not fit."""
        hint = "delete it, or give another folder"
        return records.load(cls, folder / SENSITIVITY_FILE, "sensitivity scan", hint=hint)

    def save(self, folder: Path) -> Path:
        """Write `sensitivity.json` into the folder, whole or not at all."""
        return records.save(self, folder / SENSITIVITY_FILE)


@dataclass(frozen=True, kw_only=True)
class QuantizedAlone:
    """One layer's weight and input quantized, everything else in float: how far that takes the layer's own output and
    the network's first output from what they were, in dB of SQNR, and the network's accuracy then."""

    layer: str
    type: str
    layer_sqnr_db: float
    network_sqnr_db: float
    accuracy: Score | None


@dataclass(frozen=True, kw_only=True)
class QuantizationSensitivity:
    """Every layer quantized alone, in the order of the network, with the `options` of quantize_static. `original` is
    the network in float, on the same `samples` of `split`. Accuracies are None for data without labels."""

    data: str
    split: Split
    samples: int
    options: Mapping[str, Value]
    original: Score | None
    layers: tuple[QuantizedAlone, ...]

    def most_sensitive_first(self) -> list[QuantizedAlone]:
        """By what the network's output loses: finer than the accuracy on a few hundred samples."""
        return sorted(self.layers, key=lambda layer: layer.network_sqnr_db)

    def save(self, folder: Path) -> Path:
        """Write `quantization_sensitivity.json` into the folder, whole or not at all."""
        return records.save(self, folder / QUANTIZATION_FILE)

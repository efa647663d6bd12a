"""What single layers cost that were ever measured, in one JSON file for each target and machine.

The files lie in `latency` of the cache folder; what is missing there is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from pathlib import Path

from edgepress.cache import cache_folder
from edgepress.errors import BadInput
from edgepress.files import write_text
from edgepress.latency._device import device_conditions
from edgepress.runtime import Target
from edgepress.stopwatch import LayerShape


@dataclass(eq=False)
class LayerTable:
    """`costs`, in ms or counted instructions, by the text of a layer's shape. `conditions` is everything else that decides about it."""

    path: Path
    conditions: dict[str, str]
    costs: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, target: Target, threads: int) -> LayerTable:
        """What is known under these conditions; nothing where the file is missing, broken or another's."""
        conditions = {"target": str(target), "threads": str(threads), **device_conditions(target)}
        digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
        path = cache_folder("latency") / f"{re.sub(r'[^A-Za-z0-9]+', '-', str(target))}-{digest[:16]}.json"
        return cls(path, conditions, _read(path, conditions))

    def __contains__(self, layer: LayerShape) -> bool:
        return _key(layer) in self.costs

    def __getitem__(self, layer: LayerShape) -> float:
        return self.costs[_key(layer)]

    def add(self, measured: Iterable[tuple[LayerShape, float]]) -> None:
        self.costs.update({_key(layer): cost for layer, cost in measured})

    def save(self) -> None:
        """Write the file in one step, with what another process has added meanwhile."""
        self.costs = _read(self.path, self.conditions) | self.costs
        content = {"conditions": self.conditions, "costs": self.costs}
        with contextlib.suppress(BadInput):  # a cache that cannot be written costs time, and nothing else
            write_text(self.path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _read(path: Path, conditions: dict[str, str]) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["conditions"] != conditions:
            return {}
        return {
            str(key): float(value)
            for key, value in content["costs"].items()
            if math.isfinite(value) and value > 0
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _key(layer: LayerShape) -> str:
    return json.dumps(astuple(layer))

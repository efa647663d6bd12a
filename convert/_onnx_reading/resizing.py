"""Resize and Upsample: by PyTorch's own interpolation where that is the same, else as a product with a stored matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from edgepress.convert._onnx_reading.call import Call, Outcome, operation

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
ROUNDING: dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda place: math.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: math.floor(place + 0.5),
}


@dataclass(frozen=True)
class Axis:
    """One axis that changes: its old and new size, and the scale that the file states."""

    old: int
    new: int
    scale: float

    def places(self, way: str) -> np.ndarray:
        """Where each new sample lies among the old ones (ONNX's coordinate_transformation_mode)."""
        samples = np.arange(self.new, dtype=np.float64)
        if way == "asymmetric":
            return samples / self.scale
        if way == "align_corners":
            span = self.scale * self.old - 1
            return samples * ((self.old - 1) / span if span else 0.0)
        if way == "pytorch_half_pixel" and self.new == 1:
            return samples
        if way == "half_pixel_symmetric":
            offset = self.old / 2 * (1 - self.new / (self.scale * self.old))
            return np.asarray(offset + (samples + 0.5) / self.scale - 0.5)
        return np.asarray((samples + 0.5) / self.scale - 0.5)


@operation("Resize", "Upsample")
def resize(call: Call) -> Outcome:
    value = call.tensor(0)
    axes = _axes(call, value)
    mode, way = call.attribute("mode", "nearest"), _way(call)
    if way == "tf_crop_and_resize" or call.attribute("antialias", 0):
        raise call.unsupported("cuts out a part or smooths before it resizes")
    if all(axis.old == axis.new for axis in axes.values()):
        return value
    plain = _by_pytorch(call, value, axes)
    if plain is not None:
        return plain
    for number, axis in axes.items():
        if axis.old != axis.new and mode == "nearest":
            value = value.index_select(number, torch.from_numpy(_nearest(call, axis)))
        elif axis.old != axis.new:
            matrix = torch.from_numpy(_matrix(call, axis).astype(np.float32))
            value = functional.linear(value.movedim(number, -1), matrix).movedim(-1, number)
    return value


def _way(call: Call) -> str:
    default = "half_pixel" if call.operation.type == "Resize" else "asymmetric"
    return str(call.attribute("coordinate_transformation_mode", default))


def _axes(call: Call, value: torch.Tensor) -> dict[int, Axis]:
    """The axes behind the channels, which alone may change."""
    is_resize = call.operation.type == "Resize"
    scales = (call.known(2) if is_resize else call.known_or_attribute(1, "scales")) or None
    sizes = call.known(3) if is_resize else None
    numbers = [axis % value.ndim for axis in call.attribute("axes", range(value.ndim))]
    old = [value.shape[number] for number in numbers]
    if sizes is not None:
        sizes, scales = _kept_ratio(call, old, sizes)
    else:
        assert scales is not None
        sizes = [
            size if scale == 1 else math.floor(size * scale) for size, scale in zip(old, scales, strict=True)
        ]
    changed = {
        number: Axis(before, int(after), scale)
        for number, before, after, scale in sorted(zip(numbers, old, sizes, scales, strict=True))
        if number > 1
    }
    if any(scale != 1 for number, scale in zip(numbers, scales, strict=True) if number < 2):
        raise call.unsupported("resizes the batch or the channels")
    return changed


def _kept_ratio(call: Call, old: Sequence[Any], sizes: Sequence[Any]) -> tuple[list[Any], list[float]]:
    """New sizes and scales; both axes by one scale where the file asks to keep the ratio. The batch has scale 1."""
    numbers = call.attribute("axes", range(len(sizes)))
    is_batch = [number == 0 and size == call.batch for number, size in zip(numbers, sizes, strict=True)]
    scales = [
        1.0 if batch or not isinstance(size, int) else size / before
        for before, size, batch in zip(old, sizes, is_batch, strict=True)
    ]
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return list(sizes), scales
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [math.floor(before * scale + 0.5) for before in old], [scale] * len(scales)


def _by_pytorch(call: Call, value: torch.Tensor, axes: dict[int, Axis]) -> torch.Tensor | None:
    """interpolate() where it places its samples just so; else None."""
    if len(axes) != value.ndim - 2 or any(axis.scale != axis.new / axis.old for axis in axes.values()):
        return None
    mode, way, sizes = call.attribute("mode", "nearest"), _way(call), [axis.new for axis in axes.values()]
    if mode == "nearest":
        wanted = [_nearest(call, axis).tolist() for axis in axes.values()]
        floors = [
            [int(Fraction(place * axis.old, axis.new)) for place in range(axis.new)] for axis in axes.values()
        ]
        return functional.interpolate(value, sizes, mode="nearest") if wanted == floors else None
    is_plain = way in ("half_pixel", "align_corners") or (
        way == "pytorch_half_pixel" and all(axis.new > 1 for axis in axes.values())
    )
    if mode == "linear" and is_plain:
        return functional.interpolate(
            value, sizes, mode=LINEAR[len(axes)], align_corners=way == "align_corners"
        )
    return None


def _nearest(call: Call, axis: Axis) -> np.ndarray:
    default = "round_prefer_floor" if call.operation.type == "Resize" else "floor"
    rounded = ROUNDING[call.attribute("nearest_mode", default)]
    places = [rounded(float(place)) for place in axis.places(_way(call))]
    return np.clip(np.asarray(places, np.int64), 0, axis.old - 1)


def _matrix(call: Call, axis: Axis) -> np.ndarray:
    """new x old: how much of each old sample goes into each new one."""
    mode = call.attribute("mode")
    if mode not in ("linear", "cubic"):
        raise call.unsupported(f"resizes by {mode!r}")
    matrix = np.zeros((axis.new, axis.old))
    for row, place in enumerate(axis.places(_way(call))):
        below = math.floor(place)
        weights = _weights(call, place - below)
        columns = [below + offset for offset in range(-(len(weights) // 2) + 1, len(weights) // 2 + 1)]
        if call.attribute("exclude_outside", 0):
            weights = [weight * (0 <= at < axis.old) for at, weight in zip(columns, weights, strict=True)]
            weights = [weight / sum(weights) for weight in weights]
        for at, weight in zip(columns, weights, strict=True):
            matrix[row, min(max(at, 0), axis.old - 1)] += weight
    return matrix


def _weights(call: Call, rest: float) -> list[float]:
    """Of the samples around: two for linear, four for cubic (Keys, 1981)."""
    if call.attribute("mode") == "linear":
        return [1 - rest, rest]
    a = float(call.attribute("cubic_coeff_a", -0.75))

    def near(x: float) -> float:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: float) -> float:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(rest + 1), near(rest), near(1 - rest), far(2 - rest)]

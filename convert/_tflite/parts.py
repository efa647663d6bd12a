"""Splits convolutions that are only read in slices: each part is computed where it is wanted, and not copied there."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgepress.convert._tflite.model import Model, Op, Operation, Quantization, Tensor

TILE = 8
"""Kernels compute output channels by multiples of 8: parts that fill as many tiles as the whole cost nothing more."""


def with_split_convolutions(model: Model) -> Model:
    """The model with a convolution for each slice that takes the first or last channels of a dense one."""
    readers = model.readers()
    for _, tensor in model.outputs:
        readers.pop(tensor, None)
    written: list[Operation] = []
    superfluous: set[Operation] = set()
    for operation in model.operations:
        if operation not in superfluous:
            written.extend(_parts(operation, readers.get(operation.outputs[0], []), superfluous))
    model.operations[:] = written
    return model


def _parts(operation: Operation, slices: list[Operation], superfluous: set[Operation]) -> list[Operation]:
    """The operation, or convolutions that make what its `slices` take; of these, the `superfluous` are noted."""
    own = next((part for part in _largest_first(slices) if _is_worth_it(operation, part, slices)), None)
    if own is None:
        return [operation]
    others = [part for part in slices if part is not own]
    channels, whole = _range(own), operation.outputs[0]
    superfluous.add(own)
    made = _part_of(operation, channels, own.outputs[0])
    if not others:
        return [made]
    left = range(channels.stop, whole.shape[-1]) if channels.start == 0 else range(channels.start)
    if [_range(part) for part in others] == [left]:
        superfluous.update(others)
        return [made, _part_of(operation, left, others[0].outputs[0])]
    rest = dataclasses.replace(whole, name=f"{whole.name}/rest", shape=(*whole.shape[:-1], len(left)))
    for part in others:
        _cut(part, rest, _range(part).start - left.start)
    return [made, *_parts(_part_of(operation, left, rest), others, superfluous)]


def _is_worth_it(operation: Operation, own: Operation, slices: list[Operation]) -> bool:
    """Whether only slices read this dense convolution, and what `own` takes can be made apart without more work."""
    if operation.code != Op.CONV_2D or operation.inputs[0].shape[-1] != operation.inputs[1].shape[-1]:
        return False
    if not all(_cuts_channels(part) for part in slices):
        return False
    channels, width = _range(own), operation.outputs[0].shape[-1]
    is_at_an_end = channels.start == 0 or channels.stop == width
    others = [_range(part) for part in slices if part is not own]
    overlaps = any(part.start < channels.stop and part.stop > channels.start for part in others)
    tiles = _tiles(len(channels)) + _tiles(width - len(channels))
    return is_at_an_end and not overlaps and tiles == _tiles(width)


def _largest_first(slices: list[Operation]) -> list[Operation]:
    return sorted(slices, key=lambda part: part.outputs[0].shape[-1:], reverse=True)


def _cut(part: Operation, rest: Tensor, start: int) -> None:
    """Let the slice begin at channel `start` of the `rest`."""
    begin = np.array([*[0] * (len(rest.shape) - 1), start], np.int32)
    part.inputs[:2] = [rest, dataclasses.replace(part.inputs[1], data=begin)]


def _part_of(operation: Operation, channels: range, output: Tensor) -> Operation:
    data, *constants = operation.inputs
    cut = [_entries(constant, channels) for constant in constants]
    return Operation(operation.code, [data, *cut], [output], operation.options)


def _entries(constant: Tensor, channels: range) -> Tensor:
    """Of a weight or a bias, and of its scales, what makes these output channels."""
    assert constant.data is not None
    code, first, end = constant.quantization, channels.start, channels.stop
    if code is not None and len(code.scales) > 1:
        code = Quantization(code.scales[first:end], code.zero_points[first:end], code.axis)
    data = constant.data[first:end]
    name = f"{constant.name}/part"
    return dataclasses.replace(constant, name=name, shape=data.shape, data=data, quantization=code)


def _cuts_channels(operation: Operation) -> bool:
    return operation.code == Op.SLICE and operation.outputs[0].shape[:-1] == operation.inputs[0].shape[:-1]


def _range(part: Operation) -> range:
    """The channels that a slice takes."""
    begin = part.inputs[1].data
    assert begin is not None
    return range(int(begin[-1]), int(begin[-1]) + part.outputs[0].shape[-1])


def _tiles(channels: int) -> int:
    return -(-channels // TILE)

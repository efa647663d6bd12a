"""Takes channel shuffles out of a list of operations: a shuffle is a permutation, and weights can follow one.

What a convolution reads is put together anew from the tensors in which its channels were made: slices of them,
joined by one concatenation in whatever order costs least, and its weight is permuted to that order. So channels
that pass by several units (ShuffleNet: Zhang et al., 2018; Ma et al., 2018) are copied once, by the unit that reads
them, and no transpose is left. No value changes: the same numbers are multiplied, and in int8 the sums are the same
integers.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from edgepress.convert._tflite.channels import Channels, Run
from edgepress.convert._tflite.draft import options
from edgepress.convert._tflite.model import Model, Op, Operation, Quantization, Tensor

MOST_JOINED = 5
"""XNNPACK takes no CONCATENATION of more: that one would go to slower kernels, between two partitions."""
MOST_PIECES = 64
"""What takes more slices than this stays shuffled: many thin slices cost more than a transpose."""

FOLLOWING = {Op.CONV_2D, Op.FULLY_CONNECTED}
"""Operations that read channels in any order (within a group), if their weight comes in the same."""
KEEPING = {
    Op.DEPTHWISE_CONV_2D, Op.MAX_POOL_2D, Op.AVERAGE_POOL_2D, Op.RELU, Op.RELU6, Op.RELU_N1_TO_1, Op.LOGISTIC,
    Op.TANH, Op.HARD_SWISH, Op.LEAKY_RELU, Op.ELU, Op.GELU,
}  # fmt: skip
"""Operations that give channel by channel what comes in, in whatever order that is."""


def without_shuffles(model: Model) -> Model:
    """The model without the shuffles that weights can follow; operations that nobody reads any more stay in it."""
    channels = Channels(model)
    if any(channels.is_shuffled(tensor) for operation in model.operations for tensor in operation.inputs):
        _Rewriter(model, channels).rewrite()
    return model


class _Rewriter:
    def __init__(self, model: Model, channels: Channels) -> None:
        self.model, self.channels = model, channels
        self.written: list[Operation] = []
        self.orders: dict[Tensor, np.ndarray] = {}
        """Of a rewritten tensor: which old channel each of its channels is. Its readers all follow."""
        self._makers = {operation.outputs[0]: operation for operation in model.operations}
        self._readers = model.readers()
        self._joined: dict[tuple[Run, ...], Tensor] = {}
        self._outputs = {tensor for _, tensor in model.outputs}

    def rewrite(self) -> None:
        for operation in self.model.operations:
            source = operation.inputs[0]
            if source in self.orders:
                self._follow(operation, self.orders[source])
            elif self.channels.is_shuffled(source) and not self.channels.is_mover(operation):
                self._read_anew(operation)
            self.written.append(operation)
        self.model.operations[:] = self.written

    def _read_anew(self, operation: Operation) -> None:
        """Let the operation read its channels from where they were made, unless that takes too many pieces."""
        source = operation.inputs[0]
        labels = self.channels.labels(source)
        block = self._block(operation)
        order = np.concatenate(
            [start + self._cheapest(labels[start : start + block]) for start in range(0, len(labels), block)]
        )
        runs = self.channels.runs(labels[order])
        if len(runs) > 1 and self._make_anew(operation, labels):
            return
        if len(runs) <= MOST_PIECES and all(_fits(run.maker, source) for run in runs):
            operation.inputs[0] = self._join(runs, source)
            self._follow(operation, order)

    def _make_anew(self, operation: Operation, labels: np.ndarray) -> bool:
        """Let the layer before make its channels in the order in which this operation reads them, where nothing else
        reads them; whether that is so."""
        maker = self.channels.maker(labels)
        layer = self._makers.get(maker) if maker is not None else None
        if (
            maker is None
            or layer is None
            or layer.code not in FOLLOWING
            or not _fits(maker, operation.inputs[0])
        ):
            return False
        tensor, numbers = operation.inputs[0], self.channels.numbers(labels)
        while len(self._readers[tensor]) == 1 and tensor not in self._outputs and tensor is not maker:
            tensor = self._makers[tensor].inputs[0]
        if tensor is not maker or len(self._readers[maker]) != 1 or maker in self._outputs:
            return False
        if layer.inputs[1].data is None or layer.inputs[0].shape[-1] != layer.inputs[1].shape[-1]:
            return False
        layer.inputs[1:] = [_rows_permuted(constant, numbers) for constant in layer.inputs[1:]]
        operation.inputs[0] = maker
        _note_order(maker)
        return True

    def _block(self, operation: Operation) -> int:
        """How many neighbouring channels of its first input the operation takes in any order."""
        source, output = operation.inputs[0], operation.outputs[0]
        if operation.code in FOLLOWING:
            weight = operation.inputs[1]
            return weight.shape[-1] if weight.data is not None else 1
        if not _keeps_channels(operation) or output in self._outputs:
            return 1
        blocks = [
            self._block(reader) if reader.inputs[0] is output and output not in reader.inputs[1:] else 1
            for reader in self._readers.get(output, ())
        ]
        return math.gcd(source.shape[-1], *blocks)

    def _cheapest(self, labels: np.ndarray) -> np.ndarray:
        """An order in which the labels are few runs, the longest first: the last ones may be copied twice."""
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum([run.count for run in self.channels.runs(labels[order])])
        return np.concatenate(sorted(np.split(order, ends[:-1]), key=len, reverse=True))

    def _follow(self, operation: Operation, order: np.ndarray) -> None:
        """Permute the operation's weights to an input whose channels come in `order`."""
        if operation.code in FOLLOWING:
            operation.inputs[1] = _columns_permuted(operation.inputs[1], order)
        elif (order != np.arange(len(order))).any():
            self.orders[operation.outputs[0]] = order
            _note_order(operation.outputs[0])
            if operation.code == Op.DEPTHWISE_CONV_2D:
                operation.inputs[1:] = [_channels_permuted(tensor, order) for tensor in operation.inputs[1:]]

    def _join(self, runs: list[Run], like: Tensor) -> Tensor:
        """One tensor of the runs, one behind the other."""
        key = tuple(runs)
        if key not in self._joined:
            pieces = [self._part(run) for run in runs]
            while len(pieces) > 1:
                count = (len(pieces) - 2) % (MOST_JOINED - 1) + 2  # the fewest that leave only full ones
                pieces[-count:] = [self._concatenated(pieces[-count:], like)]
            self._joined[key] = pieces[0]
        return self._joined[key]

    def _concatenated(self, pieces: list[Tensor], like: Tensor) -> Tensor:
        shape = (*like.shape[:-1], sum(piece.shape[-1] for piece in pieces))
        joined = dataclasses.replace(like, name=f"{like.name}/joined", shape=shape)
        made = options("ConcatenationOptions", axis=len(shape) - 1)
        self.written.append(Operation(Op.CONCATENATION, pieces, [joined], made))
        return joined

    def _part(self, run: Run) -> Tensor:
        """A SLICE of the run's maker, or all of it."""
        maker = run.maker
        if run.count == maker.shape[-1]:
            return maker
        if (run,) not in self._joined:
            shape = (*maker.shape[:-1], run.count)
            part = dataclasses.replace(maker, name=f"{maker.name}/part", shape=shape)
            begin = np.array([*[0] * (len(shape) - 1), run.start], np.int32)
            sizes = [
                Tensor(f"{part.name}/{name}", numbers.shape, numbers.dtype, numbers)
                for name, numbers in (("begin", begin), ("size", np.array(shape, np.int32)))
            ]
            self.written.append(Operation(Op.SLICE, [maker, *sizes], [part], options("SliceOptions")))
            self._joined[run,] = part
        return self._joined[run,]


def _fits(maker: Tensor, source: Tensor) -> bool:
    """Whether parts of `maker` can be joined to what `source` holds."""
    return maker.shape[:-1] == source.shape[:-1] and maker.quantization == source.quantization


def _keeps_channels(operation: Operation) -> bool:
    """Whether channel i of the result comes from channel i of the first input alone, whatever i."""
    source, output = operation.inputs[0], operation.outputs[0]
    if not source.shape or not output.shape or source.shape[-1] != output.shape[-1]:
        return False
    if operation.code in (Op.PAD, Op.MEAN):
        about = operation.inputs[1].data
        assert about is not None
        return not about[-1].any() if operation.code == Op.PAD else len(source.shape) - 1 not in about
    return operation.code in KEEPING


def _note_order(tensor: Tensor) -> None:
    """A tensor bears its layer's name alone only where it holds what the network has there, channel by channel."""
    tensor.name = f"{tensor.name}/reordered"


def _columns_permuted(weight: Tensor, order: np.ndarray) -> Tensor:
    """A weight (outputs, ..., inputs of a group) whose groups each read their inputs in another order."""
    assert weight.data is not None
    width = weight.shape[-1]
    orders = order.reshape(-1, width) - np.arange(0, len(order), width)[:, None]
    groups = np.split(weight.data, len(orders))
    permuted = [group[..., own] for group, own in zip(groups, orders, strict=True)]
    return dataclasses.replace(weight, data=np.concatenate(permuted))


def _rows_permuted(constant: Tensor, order: np.ndarray) -> Tensor:
    """A weight or a bias whose outputs come in another order, its scales as well."""
    assert constant.data is not None
    return dataclasses.replace(
        constant, data=constant.data[order], quantization=_scales_permuted(constant.quantization, order)
    )


def _scales_permuted(code: Quantization | None, order: np.ndarray) -> Quantization | None:
    if code is None or len(code.scales) == 1:
        return code
    return Quantization(tuple(np.array(code.scales)[order].tolist()), code.zero_points, code.axis)


def _channels_permuted(tensor: Tensor, order: np.ndarray) -> Tensor:
    """A depthwise weight or a bias whose last axis is permuted, its scales as well."""
    assert tensor.data is not None
    code = _scales_permuted(tensor.quantization, order)
    return dataclasses.replace(tensor, data=tensor.data[..., order], quantization=code)

"""LSTM and GRU layers, step by step: TFLite's own sequence operations keep their state from one call to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepress.convert._tflite.calls import Call
from edgepress.convert._tflite.draft import Draft, Value, lower, options
from edgepress.convert._tflite.layout import plain, raw_reshape, reordered
from edgepress.convert._tflite.model import Op, Tensor
from edgepress.convert._tflite.quantize import read
from edgepress.convert._tflite.slices import channels, sliced
from edgepress.graph import aten

MOST_STEPS = 512
"""Every step is some fifteen operations of the file."""


@dataclass(frozen=True)
class Weights:
    """Of one layer in one direction: (gates x hidden, inputs), (gates x hidden, hidden) and their biases."""

    inputs: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray

    @property
    def size(self) -> int:
        return int(self.hidden.shape[1])


Step = Callable[[Draft, Tensor, list[Tensor], Weights], list[Tensor]]
"""From what the inputs give to the gates (batch x gates) and the states to the new states, the output first."""


@lower(aten.lstm.input)
def lstm(call: Call, draft: Draft) -> list[Value]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): output, last hidden and last cell states."""
    return _recurrent(call, draft, _lstm_step, [read(draft, state) for state in call.arguments["hx"]])


@lower(aten.gru.input)
def gru(call: Call, draft: Draft) -> list[Value]:
    """Gated recurrent units (Cho et al., 2014): output and last hidden states."""
    return _recurrent(call, draft, _gru_step, [read(draft, call.arguments["hx"])])


def _recurrent(call: Call, draft: Draft, step: Step, first: list[Value]) -> list[Value]:
    values = call.arguments
    batch_first = values["batch_first"]
    value = read(draft, values["input"])
    order = (0, 1, 2) if batch_first else (1, 0, 2)
    sequence = reordered(draft, value, order).tensor  # batch, time, features
    if sequence.shape[1] > MOST_STEPS:
        raise draft.unsupported(
            f"The sequence has {sequence.shape[1]} steps, and the file spells out each of them.",
            f"capture with at most {MOST_STEPS} steps, and call the network for one piece after the other",
        )
    starts = [reordered(draft, state, plain(3)).tensor for state in first]
    directions = 2 if values["bidirectional"] else 1
    last: list[list[Tensor]] = []
    for number in range(values["num_layers"]):
        outputs = []
        for direction in range(directions):
            place = number * directions + direction
            weights = _weights(call, draft, place)
            states = [_state(draft, start, place) for start in starts]
            made, states = _ran(draft, sequence, states, weights, step, direction == 1)
            outputs.append(made)
            last.append(states)
        sequence = outputs[0] if directions == 1 else _joined(draft, outputs, 2)
    results = [Value(sequence, order)]
    for kind in range(len(starts)):
        rows = [_rows(draft, states[kind], 0) for states in last]
        results.append(Value(rows[0] if len(rows) == 1 else _joined(draft, rows, 0), plain(3)))
    return results


def _ran(
    draft: Draft, sequence: Tensor, states: list[Tensor], weights: Weights, step: Step, backwards: bool
) -> tuple[Tensor, list[Tensor]]:
    """One layer in one direction: its outputs (batch, time, hidden) and last states."""
    batch, time, _ = sequence.shape
    gates = _linear(draft, sequence, weights.inputs, weights.input_bias)
    outputs: list[Tensor] = []
    for moment in reversed(range(time)) if backwards else range(time):
        now = sliced(draft, gates, (0, moment, 0), (batch, 1, gates.shape[2]))
        states = step(draft, raw_reshape(draft, now, (batch, gates.shape[2])), states, weights)
        outputs.append(_rows(draft, states[0], 1))
    if backwards:
        outputs.reverse()
    return outputs[0] if time == 1 else _joined(draft, outputs, 1), states


def _lstm_step(draft: Draft, gates: Tensor, states: list[Tensor], weights: Weights) -> list[Tensor]:
    hidden, cell = states
    size = weights.size
    total = draft.combine(Op.ADD, gates, _linear(draft, hidden, weights.hidden, weights.hidden_bias))
    enter, keep = (_unary(draft, Op.LOGISTIC, channels(draft, total, place * size, size)) for place in (0, 1))
    candidate = _unary(draft, Op.TANH, channels(draft, total, 2 * size, size))
    leave = _unary(draft, Op.LOGISTIC, channels(draft, total, 3 * size, size))
    kept, entered = draft.combine(Op.MUL, keep, cell), draft.combine(Op.MUL, enter, candidate)
    cell = draft.combine(Op.ADD, kept, entered)
    return [draft.combine(Op.MUL, leave, _unary(draft, Op.TANH, cell)), cell]


def _gru_step(draft: Draft, gates: Tensor, states: list[Tensor], weights: Weights) -> list[Tensor]:
    """new + update x (old - new), where reset weighs what the old state gives to the new one."""
    (hidden,), size = states, weights.size
    own = _linear(draft, hidden, weights.hidden, weights.hidden_bias)
    sums = [
        draft.combine(
            Op.ADD,
            channels(draft, gates, place * size, size),
            channels(draft, own, place * size, size),
        )
        for place in (0, 1)
    ]
    reset, update = (_unary(draft, Op.LOGISTIC, sum_) for sum_ in sums)
    recalled = draft.combine(Op.MUL, reset, channels(draft, own, 2 * size, size))
    new = _unary(draft, Op.TANH, draft.combine(Op.ADD, channels(draft, gates, 2 * size, size), recalled))
    change = draft.combine(Op.MUL, update, draft.combine(Op.SUB, hidden, new))
    return [draft.combine(Op.ADD, new, change)]


def _weights(call: Call, draft: Draft, place: int) -> Weights:
    """The parameters of layer and direction number `place`."""
    has_biases, parameters = call.arguments["has_biases"], call.arguments["params"]
    runs = call.arguments["num_layers"] * (2 if call.arguments["bidirectional"] else 1)
    count = len(parameters) // runs
    arrays = [draft.array(node) for node in parameters[place * count : (place + 1) * count]]
    if count != (4 if has_biases else 2) or any(array is None for array in arrays):
        raise draft.unsupported(
            "This recurrent layer projects its output, or computes its weights.", "use proj_size=0"
        )
    found: list[Any] = list(arrays)
    zeros = np.zeros(found[0].shape[0], np.float32)
    return Weights(*found) if has_biases else Weights(found[0], found[1], zeros, zeros)


def _state(draft: Draft, states: Tensor, place: int) -> Tensor:
    """State number `place` of a stack of them, as batch x hidden."""
    _, batch, size = states.shape
    if states.data is not None:
        return draft.constant(states.data[place])
    return raw_reshape(draft, sliced(draft, states, (place, 0, 0), (1, batch, size)), (batch, size))


def _linear(draft: Draft, data: Tensor, weight: np.ndarray, bias: np.ndarray) -> Tensor:
    inputs = [data, draft.constant(weight), draft.constant(bias)]
    made = options("FullyConnectedOptions", keepNumDims=len(data.shape) != 2)
    return draft.compute(Op.FULLY_CONNECTED, inputs, (*data.shape[:-1], len(weight)), made)


def _rows(draft: Draft, state: Tensor, axis: int) -> Tensor:
    """A state (batch x hidden) with another axis of size 1."""
    shape = list(state.shape)
    shape.insert(axis, 1)
    return raw_reshape(draft, state, tuple(shape))


def _joined(draft: Draft, tensors: list[Tensor], axis: int) -> Tensor:
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return draft.move(Op.CONCATENATION, tensors, shape, options("ConcatenationOptions", axis=axis))


def _unary(draft: Draft, code: int, tensor: Tensor) -> Tensor:
    return draft.compute(code, [tensor], tensor.shape)

"""LSTM and GRU layers; `passes.py` has brought their weights into PyTorch's order."""

from __future__ import annotations

import torch

from edgepress.convert._onnx_reading.call import Call, Outcome, operation

ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
RECURRENT_INPUTS = 8
"""So many has an LSTM in ONNX; behind them stand the weights that `passes.py` has made of some."""
LENGTHS = 4
"""The input that says how long each sequence is."""


@operation("LSTM")
def lstm(call: Call) -> Outcome:
    if call.value(7) is not None or call.attribute("input_forget", 0):
        raise call.unsupported("looks at its cell through its gates (peepholes)")
    value, states = _begin(call, (5, 6))
    made, hidden, cell = torch.lstm(value, states, _weights(call), True, 1, 0.0, False, _is_both(call), False)
    return [_made(call, made), _state(call, hidden), _state(call, cell)]


@operation("GRU")
def gru(call: Call) -> Outcome:
    if not call.attribute("linear_before_reset", 0):
        raise call.unsupported("resets before the linear part, unlike PyTorch's")
    value, (hidden,) = _begin(call, (5,))
    made, last = torch.gru(value, hidden, _weights(call), True, 1, 0.0, False, _is_both(call), False)
    return [_made(call, made), _state(call, last)]


def _begin(call: Call, positions: tuple[int, ...]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The sequence (steps x batch x inputs) and the states it begins with: zeros where none are given."""
    _check_plain(call)
    value = call.tensor(0).transpose(0, 1) if _is_batch_first(call) else call.tensor(0)
    value = value.flip(0) if _is_reverse(call) else value
    sizes = (2 if _is_both(call) else 1, value.shape[1], call.attribute("hidden_size"))
    found = [call.optional(position) for position in positions]
    states = [
        state.transpose(0, 1) if state is not None and _is_batch_first(call) else state for state in found
    ]
    return value, [value.new_zeros(sizes) if state is None else state.expand(sizes) for state in states]


def _check_plain(call: Call) -> None:
    names = ACTIVATIONS[call.operation.type] * (2 if _is_both(call) else 1)
    if call.attribute("activations", names) != names or call.attribute("clip") is not None:
        raise call.unsupported("has activations of its own")
    steps = call.tensor(0).shape[1 if _is_batch_first(call) else 0]
    if call.value(LENGTHS) is not None and set(call.known(LENGTHS)) != {steps}:
        raise call.unsupported("takes sequences of several lengths")


def _is_batch_first(call: Call) -> bool:
    return bool(call.attribute("layout", 0))


def _is_reverse(call: Call) -> bool:
    return bool(call.attribute("direction", "forward") == "reverse")


def _is_both(call: Call) -> bool:
    return bool(call.attribute("direction", "forward") == "bidirectional")


def _weights(call: Call) -> list[torch.Tensor]:
    """For each direction, as PyTorch lists them: of the input, of the state, and the bias of either."""
    if len(call) <= RECURRENT_INPUTS:
        raise call.unsupported("computes its weights")
    return [call.tensor(position) for position in range(RECURRENT_INPUTS, len(call))]


def _made(call: Call, made: torch.Tensor) -> torch.Tensor:
    """Steps x batch x (directions * hidden) to ONNX's steps x directions x batch x hidden, or the batch in front."""
    steps, batch, _ = made.shape
    made = made.flip(0) if _is_reverse(call) else made
    apart = made.reshape(steps, batch, 2 if _is_both(call) else 1, -1)
    return apart.permute(1, 0, 2, 3) if _is_batch_first(call) else apart.permute(0, 2, 1, 3)


def _state(call: Call, state: torch.Tensor) -> torch.Tensor:
    return state.transpose(0, 1) if _is_batch_first(call) else state

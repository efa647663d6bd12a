"""A prepared ONNX model as an nn.Module: its stored tensors under the file's names, its operations as functions."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import nn

from edgepress import graph
from edgepress.convert._onnx_reading import (  # noqa: F401  each enters its operations in the table
    elementwise,
    layers,
    pooling,
    quantization,
    recurrent,
    reductions,
    resizing,
    shapes,
)
from edgepress.convert._onnx_reading.call import OPERATIONS, Call, Outcome, Value
from edgepress.convert._onnx_reading.model import Model, Operation
from edgepress.errors import UnsupportedModel

STATISTICS = {"BatchNormalization": (3, 4)}
"""The inputs that are measured, not learned: buffers."""
KNOWN_BEFOREHAND = {"Resize": (1, 2), "Upsample": (1,), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2)}
"""Inputs of real numbers that say how, not what, to compute."""


class Layer(nn.Module):
    """Where a node's stored tensors are, and under whose name it runs."""

    def forward(self, call: Call) -> Outcome:
        try:
            return OPERATIONS[call.operation.type](call)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise call.unsupported(f"fails in PyTorch: {reason}") from error


class Network(nn.Module):
    """Takes the model's inputs in order, batch first; returns its output, or a tuple of several."""

    def __init__(self, model: Model, batch: int | None) -> None:
        super().__init__()
        _check_known(model.operations)
        self._model, self._batch = model, batch
        self._told: dict[str, Value | None] = {}
        self._stored = _tensor_paths(model)
        for name, path in self._stored.items():
            _register(self, path, model.constants[name], is_learned=_is_learned(model, name))
        self._layers = _layer_paths(model.operations, self._stored)
        for path in self._layers:
            _descend(self, path)

    def learn_sizes(self, *inputs: torch.Tensor) -> None:
        """Keep the size of each value for inputs of the batch which the file fixes, and what is known beforehand."""
        self._told = {
            name: value.to("meta") if isinstance(value, torch.Tensor) else value
            for name, value in self._values(inputs, None).items()
        }

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        values = self._values(inputs, self._batch)
        outputs = tuple(_output(self._value(values, name), name) for name in self._model.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _values(self, inputs: tuple[torch.Tensor, ...], batch: int | None) -> dict[str, Value | None]:
        values: dict[str, Value | None] = dict(self._model.constants)
        values.update({name: graph.stored(self, path) for name, path in self._stored.items()})
        values.update(zip((given.name for given in self._model.inputs), inputs, strict=True))
        for operation, path in zip(self._model.operations, self._layers, strict=True):
            call = Call(
                operation,
                tuple(self._value(values, name) for name in operation.inputs),
                self._model.opset,
                batch,
                tuple(self._told.get(name) for name in operation.inputs),
            )
            made = self.get_submodule(path)(call)
            several = made if isinstance(made, list) else [made]
            values.update(zip(operation.outputs, several, strict=False))
        return values

    def _value(self, values: Mapping[str, Value | None], name: str) -> Value | None:
        if name and name not in values:
            raise UnsupportedModel(
                f"No node computes the value {name!r}: it is an operator's output that edgepress does not support.",
                hint="export the model again: the file's graph is incomplete",
            )
        return values[name] if name else None


def _check_known(operations: Iterable[Operation]) -> None:
    unknown = {operation.type: operation.name for operation in operations if operation.type not in OPERATIONS}
    if unknown:
        raise UnsupportedModel(
            f"These ONNX operators cannot be read: {', '.join(sorted(unknown))}.",
            where="; ".join(f"node {name}" for name in unknown.values()),
            hint=OF_INTEGERS if any(INTEGERS.search(type) for type in unknown) else OF_OTHERS,
        )


INTEGERS = re.compile("Integer|QLinear|Quantize")
"""In the names of operators that compute in integers, as ONNX Runtime's quantizers write them."""
OF_INTEGERS = "read the float model and quantize it here (edgepress compress MODEL --quantize int8)"
OF_OTHERS = "cut the model before them (box decoding and non-maximum suppression belong outside it), or simplify it with onnxsim"


def _tensors_of(model: Model) -> Iterator[str]:
    """The constants that are part of the network and not of how it is computed: real numbers in an axis or
    more, and stored integers that are looked up or dequantized."""
    readers: dict[str, list[tuple[Operation, int]]] = {}
    for operation in model.operations:
        for position, name in enumerate(operation.inputs):
            readers.setdefault(name, []).append((operation, position))
    for name, value in model.constants.items():
        uses = [use for use in readers.get(name, []) if use[1] not in KNOWN_BEFOREHAND.get(use[0].type, ())]
        is_weight = value.dtype.kind == "f" and value.size > 1
        is_number = any(operation.type == "DequantizeStored" for operation, _ in uses)
        if uses and (is_weight or is_number):
            yield name


def _is_learned(model: Model, name: str) -> bool:
    if model.constants[name].dtype.kind != "f" or name.endswith("_scale"):
        return False
    return not any(
        operation.inputs.index(name) in STATISTICS.get(operation.type, ())
        for operation in model.readers(name)
    )


def _layer_paths(operations: Iterable[Operation], stored: Mapping[str, str]) -> list[str]:
    """Where each operation's layer stands: by its weight, else by the node's own name."""
    paths = []
    for operation in operations:
        weights = [stored[name] for name in operation.inputs[1:] if name in stored]
        owner = weights[0].rpartition(".")[0] if weights else ""
        paths.append(owner or _dotted(operation.name, "node"))
    return paths


def _tensor_paths(model: Model) -> dict[str, str]:
    """Where each stored tensor stands in the network: every one in a place of its own."""
    paths: dict[str, str] = {}
    for name in _tensors_of(model):
        path = _tensor_path(model, name)
        while path in paths.values():
            path += "_"
        paths[name] = path
    return paths


def _tensor_path(model: Model, name: str) -> str:
    """`layer1.0.weight` as the file says; a name that speaks of no layer goes under the node that reads it first."""
    leaf = re.split(r"[./:]+", name)[-1]
    if "." in name and any(leaf.startswith(role) for role in ROLES):
        return _dotted(name)
    reader = model.readers(name)[0]
    place = reader.inputs.index(name)
    role = "weight" if reader.type == "DequantizeStored" else ROLES[min(place, len(ROLES)) - 1]
    suffix = next((end for end in STORED_SUFFIXES if name.endswith(end)), "")
    return f"{_dotted(reader.name, 'node')}.{role}{suffix}"


ROLES = ("weight", "bias", "running_mean", "running_var", "value")
STORED_SUFFIXES = ("_scale", "_zero_point")


def _dotted(name: str, fallback: str = "tensor") -> str:
    """A name of the file as a path of modules: /layer1/layer1.0/Conv and layer1.0.weight both are dotted."""
    words = [re.sub(r"\W+", "_", word) for word in re.split(r"[./:]+", name)]
    return ".".join(f"_{word}" if word in RESERVED else word for word in words if word) or fallback


RESERVED = (
    frozenset(dir(nn.Module))
    | {"_model", "_batch", "_stored", "_layers", "_told", "training"}
    | frozenset(keyword.kwlist)
)
"""What no module can be called: PyTorch writes its graphs as Python, and Keras calls layers `lambda`."""


def _descend(module: nn.Module, path: str) -> nn.Module:
    """The module at `path`, made with all before it where they are missing."""
    for word in path.split(".") if path else ():
        if not hasattr(module, word):
            module.add_module(word, Layer())
        module = getattr(module, word)
        if not isinstance(module, nn.Module):
            raise UnsupportedModel(
                f"Two tensors of the file have conflicting names: {path}.",
                hint="rename one of them where the file was made",
            )
    return module


def _register(network: nn.Module, path: str, value: np.ndarray, *, is_learned: bool) -> None:
    owner, _, leaf = path.rpartition(".")
    module = _descend(network, owner)
    tensor = torch.from_numpy(np.array(value))
    if is_learned:
        module.register_parameter(leaf, nn.Parameter(tensor))
    else:
        module.register_buffer(leaf, tensor)


def _output(value: Value | None, name: str) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise UnsupportedModel(f"The output {name!r} does not depend on the inputs.", hint="leave it out")
    return value

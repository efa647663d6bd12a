"""An OpenVINO network that gives what its layers gave, beside its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPUTE_NOTHING = ("QuantizeLinear", "DequantizeLinear")
"""The beginnings of ONNX operators that only change the code of a tensor."""
NO_LAYERS = ("Parameter", "Constant", "Result")
WITHOUT_BIAS = "/WithoutBiases"
"""How OpenVINO ends the name of a layer's product where it adds the bias by itself. The sum then has the layer's name,
unless it is an output: that has the output's."""


@dataclass(frozen=True)
class Tap:
    """The copy's output number `place` holds what `layer` gave."""

    layer: str
    type: str
    place: int


def tapped(model: Any) -> tuple[Any, tuple[Tap, ...]]:
    """A copy of the network with each layer's result among its outputs, and where they are."""
    copied = model.clone()
    found = list(_results(copied))
    copied.add_outputs([output for _, _, output in found])
    # What was an output already has kept its place.
    places = {_port(result.input_value(0)): place for place, result in enumerate(copied.get_results())}
    return copied, tuple(Tap(layer, type, places[_port(output)]) for layer, type, output in found)


def _results(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Layer, operator and port of everything that bears the ONNX file's `<layer>/<type>`, in order of execution; an
    output of the network counts to the layer that ends with it."""
    ends = {_port(result.input_value(0)) for result in model.get_results()}
    layer = ""
    for node in model.get_ordered_ops():
        if node.get_type_name() in NO_LAYERS:
            continue
        output = node.output(0)
        named, slash, kind = node.get_friendly_name().removesuffix(WITHOUT_BIAS).rpartition("/")
        if slash and not kind.startswith(COMPUTE_NOTHING):
            layer = named
        elif not layer or _port(output) not in ends:
            continue
        if output.get_element_type().is_real() and output.get_partial_shape().rank.get_length():
            yield layer, node.get_type_name(), output


def _port(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()

"""Quantizes every layer alone and measures what that costs the layer's output, the network's, and the accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node

from edgepress import graph
from edgepress import options as option_values
from edgepress.accuracy import Score, score_on
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.orientation import outputs_first
from edgepress.compress._quantization.output_error import rounded
from edgepress.compress._quantization.weights import quantize_weight
from edgepress.data import Batch, Split
from edgepress.errors import BadInput
from edgepress.sensitivity import QuantizationSensitivity, QuantizedAlone
from edgepress.sqnr import recorded_db

if TYPE_CHECKING:
    from edgepress.compress.quantize_static import QuantizeStatic
    from edgepress.program import Program
    from edgepress.stage import Context

BATCH = 8
"""Samples whose activations are all held while every layer has its turn."""


def scan_quantization(
    program: Program, context: Context, how: QuantizeStatic, *, samples: int = 256, split: Split = "calibrate"
) -> QuantizationSensitivity:
    """Calibrate as `how` says, then quantize the input and the weight, rounded to nearest, of one layer after the other.

    Layers that share a weight have one turn together. Raises what the stage raises, and BadInput for no samples.
    """
    how.check(program)
    found = how.calibrated(program, context)
    data = context.required_data()
    batches = data.batches(split, program.preprocess, batch_size=BATCH, limit=samples)
    scan = _Scan(found.graph_module, found.layers)
    total = -(-min(samples, data.count(split)) // BATCH)
    for number, batch in enumerate(batches):
        context.progress("quantizing alone", number, total)
        scan.add(batch)
    context.progress("quantizing alone", total, total)
    if not scan.original:
        raise BadInput(
            f"The data holds nothing to {split} with.", where=f"data {data.name}", hint="data with that split"
        )
    return QuantizationSensitivity(
        data=data.name,
        split=split,
        samples=sum(len(outputs) for outputs in scan.original),
        options=option_values.to_mapping(how, defaults=False),
        original=scan.accuracy(scan.original, data.name),
        layers=tuple(scan.results(data.name)),
    )


@dataclass
class _Trial:
    """One layer's turn so far: squares of what its output was and how far it went off, likewise the network's outputs."""

    layer: Layer
    weight: torch.Tensor
    squares: float = 0.0
    noise: float = 0.0
    outputs: list[np.ndarray] = field(default_factory=list)


class _Scan:
    """Batch by batch: the float network once, then from every layer on what follows it."""

    def __init__(self, graph_module: GraphModule, layers: Sequence[Layer]) -> None:
        self._graph_module = graph_module
        self._trials = [_Trial(layer, _restored(graph_module, layer)) for layer in layers]
        self._labels: list[np.ndarray | None] = []
        self.original: list[np.ndarray] = []

    def add(self, batch: Batch) -> None:
        inputs = [torch.from_numpy(array) for array in batch.inputs]
        walker = Interpreter(self._graph_module, garbage_collect_values=False)
        with torch.inference_mode():
            self.original.append(_first(walker.run(*inputs)))
            values = dict(walker.env)
            for trial in self._trials:
                self._turn(trial, inputs, values)
        self._labels.append(batch.labels)

    def _turn(self, trial: _Trial, inputs: Sequence[torch.Tensor], values: dict[Node, Any]) -> None:
        layers = self._sharing(trial.layer.node)
        alone = _Alone(self._graph_module, trial, layers)
        place = {node: number for number, node in enumerate(self._graph_module.graph.nodes)}
        first = min(place[layer] for layer in layers)
        before = {node: value for node, value in values.items() if place[node] < first}
        trial.outputs.append(_first(alone.run(*inputs, initial_env=before)))
        expected = values[trial.layer.node]
        trial.squares += float(expected.double().square().sum())
        trial.noise += float((alone.made - expected).double().square().sum())

    def _sharing(self, layer: Node) -> set[Node]:
        weight = graph.weight_node(layer)
        assert weight is not None
        return {
            node
            for node in graph.operators(self._graph_module)
            if node.target in graph.WEIGHTED
            and (other := graph.weight_node(node)) is not None
            and other.target == weight.target
        }

    def results(self, data_name: str) -> Iterator[QuantizedAlone]:
        expected = np.concatenate(self.original)
        for trial in self._trials:
            noise = np.square(np.concatenate(trial.outputs) - expected, dtype=np.float64).sum()
            node = trial.layer.node
            yield QuantizedAlone(
                layer=graph.layer_name(node),
                type=graph.op_name(node),
                layer_sqnr_db=recorded_db(trial.squares, trial.noise),
                network_sqnr_db=recorded_db(float(np.square(expected, dtype=np.float64).sum()), float(noise)),
                accuracy=self.accuracy(trial.outputs, data_name),
            )

    def accuracy(self, outputs: Sequence[np.ndarray], data_name: str) -> Score | None:
        """None where a batch came without labels, or with boxes, which one output alone does not give."""
        if any(labels is None or labels.dtype == np.float32 for labels in self._labels):
            return None
        told = iter(outputs)
        batches = (Batch((made,), labels) for made, labels in zip(outputs, self._labels, strict=True))
        return score_on(lambda *_: (next(told),), batches, data_name)


class _Alone(Interpreter):
    """Executes the float graph with one weight, and what is multiplied by it, quantized."""

    def __init__(self, graph_module: GraphModule, trial: _Trial, layers: set[Node]) -> None:
        super().__init__(graph_module)
        self._trial, self._layers = trial, layers
        self.made = torch.zeros(())

    def run_node(self, n: Node) -> Any:
        if n not in self._layers:
            return super().run_node(n)
        source, weight = graph.arguments(n)["input"], graph.arguments(n)["weight"]
        replaced = {source: rounded(self.env[source], self._trial.layer.inputs), weight: self._trial.weight}
        made = graph.computed(n, lambda node: replaced[node] if node in replaced else self.env[node])
        if n is self._trial.layer.node:
            self.made = made
        return made


def _restored(graph_module: GraphModule, layer: Layer) -> torch.Tensor:
    weight = graph.constant(graph_module, graph.weight_node(layer.node))
    assert weight is not None, "the plan has layers with stored weights alone"
    bias = graph.constant(graph_module, graph.arguments(layer.node)["bias"])
    made = quantize_weight(outputs_first(layer.node, weight), bias, layer.inputs, layer.weight)
    return outputs_first(layer.node, made.restored()).float()


def _first(outputs: Any) -> np.ndarray:
    found: torch.Tensor = outputs[0] if isinstance(outputs, tuple | list) else outputs
    return found.numpy()

"""What criteria are shown: gates and activations of every sample, against what the weights and a plain run tell."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from awkward_networks import NETWORKS
from torch import nn

from edgepress import graph
from edgepress.compress._channels.evidence import Seen, observe
from edgepress.compress._channels.group import Evidence
from edgepress.compress._channels.scores import role_of
from edgepress.compress._channels.structure import Structure, read_structure
from edgepress.data import Batch
from edgepress.program import Program


class PositionNetwork(nn.Module):
    """Two layers work on a stored table alone, as in Swin v2's position bias, and a window is one of several in a
    sample."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 3))
        self.bias = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 12))
        self.window = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = x.reshape(x.shape[0], 3, 4, 12).reshape(-1, 4, 12) + self.bias(self.table)
        return self.head(self.window(windows).reshape(x.shape[0], 12, 12).mean(1))


MAKERS = {
    **{name: NETWORKS[name] for name in ("residual", "dense", "two_groups", "flattened", "siamese")},
    "positions": lambda: (PositionNetwork(), (torch.randn(2, 12, 12),)),
}
SAMPLES = 6


@functools.cache
def captured(name: str) -> Program:
    torch.manual_seed(0)
    return Program.capture(*MAKERS[name]())


def loss(output: torch.Tensor, batch: Batch) -> torch.Tensor:
    return output.flatten(1).square().sum(1).mean()


def structure_and_batch(name: str) -> tuple[Structure, Batch]:
    program = captured(name)
    return read_structure(program), Batch(program.signature.example(SAMPLES, seed=1))


def seen(structure: Structure, evidence: Evidence, *batches: Batch) -> list[Seen]:
    return list(observe(structure.labelling, evidence, batches, loss))


@pytest.mark.parametrize("name", MAKERS)
def test_a_gates_derivative_is_that_of_the_weights_that_read_through_it(name: str) -> None:
    structure, batch = structure_and_batch(name)
    labelling = structure.labelling
    (gates,) = seen(structure, "gates", batch)
    (gradients,) = seen(structure, "gradients", batch)
    expected = np.zeros(labelling.count)
    counted = set()
    for binding in labelling.bindings:
        key, is_reader = (binding.name, binding.axis), role_of(labelling, binding) == "reader"
        # A layer of another output than the first has no gradient.
        if is_reader and key not in counted and binding.name in gradients.gradients:
            counted.add(key)
            weight = graph.constant(labelling.graph_module, binding.constant)
            assert weight is not None
            product = np.moveaxis(
                weight.detach().numpy() * gradients.gradients[binding.name], binding.axis, 0
            )
            rows = product.reshape(len(product), -1).sum(1)
            np.add.at(expected, labelling.classes[binding.labels], rows * SAMPLES)
    assert gates.channels is not None
    assert gates.channels.shape == (SAMPLES, labelling.count)
    # Float32 sums over some thousand products, in another order.
    np.testing.assert_allclose(gates.channels.sum(0), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["residual", "positions"])
def test_every_sample_is_seen_by_itself(name: str) -> None:
    structure, batch = structure_and_batch(name)
    singles = [Batch((batch.inputs[0][number : number + 1],)) for number in range(SAMPLES)]
    (together,) = seen(structure, "gates", batch)
    alone = np.concatenate([found.channels for found in seen(structure, "gates", *singles)])
    shared = (
        structure.labelling.classes_of(next(iter(_constant_nodes(structure)))) if name == "positions" else []
    )
    own = np.setdiff1d(np.arange(structure.labelling.count), shared)
    # What is made of constants has one gradient for the whole batch; the rest is the same but for float32 rounding.
    np.testing.assert_allclose(together.channels[:, own], alone[:, own], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(together.channels.sum(0), alone.sum(0), rtol=1e-3, atol=1e-4)


def _constant_nodes(structure: Structure) -> list[torch.fx.Node]:
    """What the hidden layer makes of the stored table."""
    return [layer.node for layer in structure.layers if layer.name == "bias.0"]


def test_activations_are_mean_absolute_values_over_all_positions_of_what_is_read() -> None:
    structure, batch = structure_and_batch("flattened")
    (found,) = seen(structure, "activations", batch)
    module = captured("flattened").module()
    read: dict[str, torch.Tensor] = {}
    for node in graph.operators(module.graph_module):
        if node.target in graph.WEIGHTED:
            read[graph.layer_name(node)] = _value(module.graph_module, node.all_input_nodes[0], batch)
    classes = next(layer.outputs for layer in structure.layers if layer.name == "conv.0")
    flattened = read["hidden"].abs().reshape(SAMPLES, len(classes), -1).mean(2)
    assert found.channels is not None
    np.testing.assert_allclose(found.channels[:, classes], flattened.numpy(), rtol=1e-5)


def _value(graph_module: torch.fx.GraphModule, wanted: torch.fx.Node, batch: Batch) -> torch.Tensor:
    class Until(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            value = super().run_node(n)
            if n is wanted:
                values.append(value)
            return value

    values: list[torch.Tensor] = []
    with torch.no_grad():
        Until(graph_module).run(torch.from_numpy(batch.inputs[0]))
    return values[0]


def test_looking_changes_nothing() -> None:
    structure, batch = structure_and_batch("residual")
    module = structure.labelling.graph_module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for evidence in ("gradients", "gates", "activations"):
        seen(structure, evidence, batch)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_the_width_of_query_and_key_is_read_by_their_product() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = nn.Linear(12, 16), nn.Linear(12, 16), nn.Linear(12, 16)
            self.head = nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2), -1)
            return self.head((weights @ self.value(x)).mean(1))

    torch.manual_seed(0)
    program = Program.capture(Attention(), (torch.randn(2, 6, 12),))
    structure, batch = read_structure(program), Batch(program.signature.example(SAMPLES, seed=1))
    (gates,) = seen(structure, "gates", batch)
    (gradients,) = seen(structure, "gradients", batch)
    for layer in structure.layers:
        if layer.name in ("query", "key"):
            assert layer.outputs is not None
            expected = 0
            for name in ("query.weight", "key.weight", "query.bias", "key.bias"):
                stored = program.exported.state_dict[name].detach().numpy()
                expected = expected + (stored * gradients.gradients[name]).reshape(16, -1).sum(1) * SAMPLES
            assert gates.channels is not None
            found = gates.channels.sum(0)[layer.outputs]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

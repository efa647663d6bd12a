"""What is rewritten for the XNNPACK delegate computes what it did before, in float and in int8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import tiny_networks
import torch
from tflite_files import network, quantized
from torch import Tensor, nn
from torch.fx import GraphModule

from edgepress import graph
from edgepress.convert._executorch.patterns import rewrite
from edgepress.program import Program

functional = nn.functional


def halves(x: Tensor, convolution: nn.Module) -> Tensor:
    left, right = convolution(x).chunk(2, 1)
    return torch.cat([right, torch.relu(left)], 1)


def pieces(x: Tensor, convolution: nn.Module) -> Tensor:
    first, _, last = convolution(x).split([3, 2, 3], -3)
    return first * last


FUNCTIONS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "chunk": halves,
    "split": pieces,
    "mean": lambda x, convolution: convolution(x).mean((2, 3)),
    "mean kept": lambda x, convolution: convolution(x).mean((-1, -2), keepdim=True),
    "mean of a row": lambda x, convolution: convolution(x).mean(3),
    "mean of all": lambda x, convolution: convolution(x).mean((1, 2, 3)),
    "clamp": lambda x, convolution: torch.clamp(convolution(x), -0.25, 0.5),
    "clamp from below": lambda x, convolution: torch.clamp(convolution(x), min=0),
    "clamp from above": lambda x, convolution: torch.clamp(convolution(x), max=0.5),
    "dropout": lambda x, convolution: torch.relu(functional.dropout(convolution(x), 0.5, training=False)),
    "two readers": lambda x, convolution: torch.relu(convolution(x)) + convolution(torch.tanh(x)),
}


@pytest.mark.parametrize("is_quantized", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_changes_in_what_is_computed(name: str, is_quantized: bool) -> None:
    module = network(FUNCTIONS[name], nn.Conv2d(4, 8, 3, padding=1))
    program = Program.capture(module, (torch.zeros(2, 4, 6, 8),))
    program = quantized(program) if is_quantized else program
    inputs = program.example_tensors(3)
    rewritten = program.graph_module()
    expected = rewritten(*inputs)
    rewrite(rewritten)
    # Flat or not, the mean's order of sums is its own; the codes of int8 hide it.
    torch.testing.assert_close(rewritten(*inputs), expected, rtol=1e-6, atol=1e-6)


def operators(module: GraphModule) -> Counter[str]:
    return Counter(graph.op_name(node) for node in graph.operators(module))


def test_no_dequantize_has_two_readers_and_no_operator_two_results() -> None:
    for network_ in tiny_networks.NETWORKS:
        module = quantized(tiny_networks.capture(network_)).graph_module()
        rewrite(module)
        for node in graph.operators(module):
            if node.target in (graph.DEQUANTIZE, graph.DEQUANTIZE_CHANNELS):
                assert len(node.users) == 1
    module = Program.capture(network(halves, nn.Conv2d(4, 8, 1)), (torch.zeros(2, 4, 6, 8),)).graph_module()
    rewrite(module)
    assert operators(module)["slice"] == 2
    assert not {"chunk", "getitem"} & set(operators(module))


def test_activations_have_the_names_that_are_fused() -> None:
    for name, wanted in {
        "clamp": "hardtanh",
        "clamp from below": "relu",
        "clamp from above": "clamp",
    }.items():
        module = Program.capture(
            network(FUNCTIONS[name], nn.Conv2d(4, 8, 1)), (torch.zeros(2, 4, 6, 8),)
        ).graph_module()
        rewrite(module)
        assert operators(module)[wanted] == 1, name

from __future__ import annotations

import torch
from torch import nn

from edgepress.memory import Memory
from edgepress.program import Program


class Diamond(nn.Module):
    """The input is needed to the end: three tensors live at the addition."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.tanh(x)) + x


class Views(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x.flatten(1).unsqueeze(1).reshape(-1, 4, 8))


class Halves(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1)
        return torch.cat((right, left), dim=1)


def memory(network: nn.Module, *shape: int) -> Memory:
    return Memory(Program.capture(network, (torch.randn(2, *shape),)).graph_module())


def moved_elements(network: nn.Module, *shape: int) -> list[int]:
    measured = memory(network, *shape)
    nodes = [node for node in measured.nodes if node.op == "call_function"]
    return [
        sum(map(measured.size_bytes, measured.moved(node))) // 4 for node in nodes if measured.moved(node)
    ]


def test_chain_keeps_two_tensors_at_a_time() -> None:
    assert memory(nn.Sequential(nn.Tanh(), nn.Sigmoid(), nn.Tanh()), 10).peak_bytes() == 2 * 10 * 4


def test_branch_keeps_its_input_until_it_is_joined() -> None:
    assert memory(Diamond(), 10).peak_bytes() == 3 * 10 * 4


def test_wide_layer_sets_the_peak() -> None:
    network = nn.Sequential(nn.Linear(4, 100), nn.ReLU(), nn.Linear(100, 50), nn.Linear(50, 2))
    assert memory(network, 4).peak_bytes() == (100 + 50) * 4


def test_views_move_nothing() -> None:
    assert moved_elements(Views(), 32) == [64]
    assert memory(Views(), 32).peak_bytes() == 2 * 32 * 4


def test_split_and_concatenation_copy() -> None:
    assert moved_elements(Halves(), 6) == [12, 12]


def test_activation_that_others_read_before_it_is_not_fused() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x)
            return torch.relu(y) * y

    assert moved_elements(Shared(), 4) == [8, 8, 12], "linear (weights apart), relu, mul"

"""A real file on a real runtime: what a Measurement knows without being told."""

from __future__ import annotations

import pytest
import torch

from edgepress import convert, runtime
from edgepress.benchmarks import Protocol, compare, ratio
from edgepress.history import Step
from edgepress.program import Program

QUICK = Protocol(rounds=5, min_runs=25, min_seconds=0, profile_runs=3)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """A small network as ONNX, and one with a fourteenth of its multiplications that says it was pruned."""
    folder = tmp_path_factory.mktemp("files")

    def network(channels: int) -> Program:
        layers = (torch.nn.Conv2d(3, channels, 3), torch.nn.ReLU(), torch.nn.Conv2d(channels, channels, 3))
        return Program.capture(torch.nn.Sequential(*layers), (torch.zeros(2, 3, 48, 48),))

    torch.manual_seed(0)
    large, small = network(64), network(16).with_step(Step("prune_channels"))
    return convert.to(large, "onnx", folder / "original.onnx"), convert.to(
        small, "onnx", folder / "model.onnx"
    )


def test_a_smaller_network_is_found_faster(artifacts):
    original, model = compare([runtime.open(artifact) for artifact in artifacts], QUICK)
    assert (original.runner, original.threads, original.batch, original.device) == (
        "onnxruntime",
        1,
        1,
        "cpu",
    )
    assert (original.is_original, model.stages) == (True, ("prune_channels",))
    assert original.comparison == model.comparison != ""
    assert (model.sha256, model.size_bytes) == (
        artifacts[1].manifest.sha256,
        artifacts[1].path.stat().st_size,
    )
    # A fourteenth of the multiplications: half the time leaves room for overheads and a busy machine.
    assert ratio(original, model).value < 0.5
    assert model.cpu_ms < 0.5 * original.cpu_ms


def test_layers_carry_the_names_of_the_user(artifacts):
    original, _ = compare([runtime.open(artifact) for artifact in artifacts], QUICK)
    convolutions = [layer for layer in original.layers if "Conv" in layer.type]
    assert len(convolutions) == 2
    assert all(layer.latency_ms > 0 for layer in convolutions)

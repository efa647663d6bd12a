"""The runtimes that execute on a CUDA device: the same outputs as on the CPU, a time, and plain words where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import convert, runtime
from edgepress.benchmarks import Protocol, compare
from edgepress.errors import DeviceFailed
from edgepress.program import Program

QUICK = Protocol(min_runs=20, min_seconds=0, max_seconds=2, profile_runs=3)


@pytest.fixture(scope="module", params=["pt2", "onnx"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tiny_networks.capture(tiny_networks.Residual)
    folder = tmp_path_factory.mktemp("gpu")
    if request.param == "pt2":
        return program.save(folder / "network.pt2").path
    return convert.to(program, request.param, folder / "network").path


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_it_says_what_is_missing(file: Path) -> None:
    with (
        pytest.raises(DeviceFailed, match="CUDA") as refusal,
        runtime.open(file, "cuda:0"),
    ):
        pass
    assert refusal.value.hint


def test_a_device_that_is_not_there(file: Path) -> None:
    with pytest.raises(DeviceFailed), runtime.open(file, "cuda:99"):
        pass


def test_what_a_graph_makes_moves_with_it() -> None:
    """PyTorch writes the device of every tensor that a network makes into its graph."""

    class Made(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(4, dtype=torch.float32)

    from edgepress import graph

    module = Program.capture(Made(), (torch.zeros(2, 4),)).graph_module()
    module.register_buffer("something", torch.zeros(1))
    graph.place(module, torch.device("meta"))
    assert module(torch.zeros(2, 4, device="meta")).device.type == "meta"


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(file: Path) -> None:
    arrays = np.random.default_rng(0).standard_normal((4, 3, 16, 16), np.float32)
    with runtime.open(file, "cpu") as cpu, runtime.open(file, "cuda:0") as gpu:
        for expected, found in zip(cpu.run(arrays), gpu.run(arrays), strict=True):
            # Without TF32 the sums of float32 differ by their order alone.
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_is_timed(file: Path) -> None:
    (measured,) = compare([runtime.open(file, "cuda:0")], QUICK)
    assert measured.target == "cuda:0"
    assert len(measured.latency_ms) >= 20
    assert measured.layers

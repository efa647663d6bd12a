"""The runtimes that execute on a CUDA device: the same outputs as on the CPU, a time, and plain words where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch

from edgepress import convert, runtime
from edgepress.benchmarks import Protocol, compare
from edgepress.errors import DeviceFailed, UnsupportedTarget
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


def test_arithmetic_is_borrowed() -> None:
    """PyTorch's switches are the process's. By itself it rounds convolutions on a GPU to TF32."""
    from edgepress.runtime._torch_cuda import _arithmetic

    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [switch.fp32_precision for switch in switches]
    for arithmetic, inside in (("float32", "ieee"), ("tf32", "tf32")):
        with _arithmetic(arithmetic):
            assert [switch.fp32_precision for switch in switches] == [inside, inside]
        assert [switch.fp32_precision for switch in switches] == before


def test_a_processor_that_stands_in_for_the_gpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ONNX Runtime does where CUDA's libraries do not load: its providers are offered, but not taken."""
    import onnxruntime

    program = tiny_networks.capture(tiny_networks.Residual)
    artifact = convert.to(program, "onnx", tmp_path / "network.onnx")
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(artifact.path), providers=["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_arguments, **_options: session)
    with pytest.raises(DeviceFailed, match="would run on the processor"), runtime.open(artifact, "cuda:0"):
        pass


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(file: Path) -> None:
    arrays = np.random.default_rng(0).standard_normal((4, 3, 16, 16), np.float32)
    with runtime.open(file, "cpu") as cpu, runtime.open(file, "cuda:0") as gpu:
        for expected, found in zip(cpu.run(arrays), gpu.run(arrays), strict=True):
            # Without TF32 the sums of float32 differ by their order alone.
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize(("arithmetic", "tolerance"), [("tf32", 1e-2), ("float16", 2e-2)])
def test_a_gpu_computes_in_the_arithmetic_asked_for(file: Path, arithmetic: str, tolerance: float) -> None:
    """Mantissas of ten bits, and outputs of the network's size: visible, and small."""
    arrays = np.random.default_rng(0).standard_normal((4, 3, 16, 16), np.float32)
    if file.suffix == ".onnx" and arithmetic == "float16":
        with pytest.raises(UnsupportedTarget), runtime.open(file, f"cuda:0/{arithmetic}"):
            pass
        return
    with runtime.open(file, "cuda:0") as exact, runtime.open(file, f"cuda:0/{arithmetic}") as coarse:
        for expected, found in zip(exact.run(arrays), coarse.run(arrays), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
            assert not np.array_equal(found, expected)


@pytest.mark.gpu
def test_a_gpu_is_timed(file: Path) -> None:
    (measured,) = compare([runtime.open(file, "cuda:0")], QUICK)
    assert measured.device == "cuda:0"
    assert len(measured.latency_ms) >= 20
    is_torch = file.suffix == ".pt2"
    assert bool(measured.layers) == is_torch, "ONNX Runtime times only how the work is handed over"
    if is_torch:
        assert len(measured.device_ms) == len(measured.latency_ms)
        assert all(
            device <= wall for device, wall in zip(measured.device_ms, measured.latency_ms, strict=True)
        )

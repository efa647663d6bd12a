"""The way to an engine and its execution: against a double of TensorRT's documented API, and where a GPU has the real
one, against that."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorrt_double
import tiny_networks
import torch
from tensorrt_double import State
from torch import Tensor, nn

from edgepress import convert, plugins, runtime
from edgepress.artifact import Artifact
from edgepress.cli import run
from edgepress.convert._tensorrt.half import halved
from edgepress.errors import (
    BackendMissing,
    BadInput,
    BadOption,
    DeviceFailed,
    UnsupportedModel,
    UnsupportedTarget,
)
from edgepress.program import Program

UNSUPPORTED, MISSING = 3, 6


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def source(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "onnx", tmp_path_factory.mktemp("source") / "model.onnx")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path / "cache"))
    return tensorrt_double.install(monkeypatch)


def engine(source: Artifact, path: Path, **options: object) -> Artifact:
    """Only the last edge: the ONNX file is made once."""
    converter = convert.find("onnx", "tensorrt")(**options)
    converter.check(source)
    return Artifact.describe(path, converter.write(source, path))


@pytest.fixture
def path(double: State, source: Artifact, tmp_path: Path) -> Path:
    """Of an engine that the double has built."""
    return engine(source, tmp_path / "model.tensorrt").path


def test_an_engine_runs_as_the_program(
    double: State, program: Program, source: Artifact, tmp_path: Path
) -> None:
    made = engine(source, tmp_path / "model.tensorrt", batch=3, workspace_mib=64, level=5)
    assert double.config is not None
    assert double.config.limits == {"WORKSPACE": 64 << 20}
    assert double.config.builder_optimization_level == 5
    assert double.config.flags == set(), "float32 is not cut to TF32"
    assert double.config.profiles[0].shapes == {"pictures": (3, 3, 16, 16)}
    assert made.manifest.bound_to == {
        "gpu": tensorrt_double.GPU,
        "compute_capability": "9.0",
        "tensorrt": tensorrt_double.VERSION,
    }
    inputs = program.signature.example(5)
    with runtime.open(Artifact.open(made.path)) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], rtol=1e-4, atol=1e-5)
        assert runner.profile(2) == (runtime.LayerTime("layer0", "CaskConvolution", 0.25),)
    assert (double.memory, double.streams) == ({}, 0), "everything is given back"


def test_layers_timed_once_are_kept_for_the_next_engine(
    double: State, source: Artifact, tmp_path: Path
) -> None:
    for _ in range(2):
        engine(source, tmp_path / "model.tensorrt")
    (kept,) = (tmp_path / "cache" / "tensorrt").iterdir()
    assert kept.name == f"NVIDIA-Double_9.0_{tensorrt_double.VERSION}.timing"
    assert kept.read_bytes() == b"++", "the second build began with what the first one left"


@pytest.mark.parametrize(("changed", "said"), [
    ({"gpu": "NVIDIA Other"}, "gpu NVIDIA Double (here NVIDIA Other)"),
    ({"version": "10.3.0"}, "tensorrt 11.1.0.106 (here 10.3.0)"),
])  # fmt: skip
def test_an_engine_of_another_machine_is_refused(
    changed: dict[str, str],
    said: str,
    double: State,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    double.gpu = changed.get("gpu", double.gpu)
    monkeypatch.setattr("tensorrt.__version__", changed.get("version", double.version))
    with pytest.raises(UnsupportedTarget, match="built for a different GPU") as raised, runtime.open(path):
        pass
    assert said in raised.value.what
    assert run(["benchmark", str(path)]) == UNSUPPORTED
    assert "edgepress convert MODEL --to tensorrt" in capsys.readouterr().err


def test_what_is_no_engine_is_refused(path: Path) -> None:
    manifest = Artifact.open(path).manifest
    path.write_bytes(b"anything")
    broken = Artifact.describe(path, manifest)
    with pytest.raises(BadInput, match="magic tag does not match"), runtime.open(broken):
        pass


def test_failures_are_told_in_tensorrts_words(
    double: State, source: Artifact, program: Program, path: Path
) -> None:
    double.executes = False
    with runtime.open(path) as runner, pytest.raises(DeviceFailed, match="failed to execute"):
        runner.run(*program.signature.example(1))
    double.builds = False
    with pytest.raises(DeviceFailed, match="cannot build the engine: no tactic fits"):
        engine(source, path)
    double.parser_says = ["an attribute", "another"]
    with pytest.raises(UnsupportedModel, match="block.layer/Conv: an attribute; block.layer/Conv: another"):
        engine(source, path)
    double.driver = False
    with pytest.raises(DeviceFailed, match="no CUDA-capable device"):
        engine(source, path)


class Odd(nn.Module):
    """ONNX has a Fourier transform, TensorRT has none."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


def odd() -> Program:
    return Program.capture(nn.Sequential(nn.Conv2d(3, 4, 1), Odd()), (torch.zeros(2, 3, 4, 4),))


def test_the_rules_are_asked_without_tensorrt() -> None:
    found = convert.unsupported(odd(), "tensorrt")
    assert [(place.layer, place.operator) for place in found] == [("1", "DFT")]
    with pytest.raises(UnsupportedModel, match="TensorRT has no DFT"):
        convert.check(odd(), "tensorrt", here=False)


def test_inspect_counts_tensorrts_operators_for_their_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd().save(tmp_path / "odd.pt2")
    assert run(["inspect", str(tmp_path / "odd.pt2"), "--to", "tensorrt"]) == 0
    rows = {line.replace("│", " ").strip() for line in capsys.readouterr().out.splitlines()}
    assert {" ".join(row.split()) for row in rows} >= {"conv2d 1 yes", "fft_rfft 1 no (1)"}


def test_compress_for_tensorrt_needs_no_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgepress.nvidia.PACKAGES", ("not_installed",))
    monkeypatch.setattr("edgepress.runtime.on_tensorrt.TensorRtRunner.requires", ("not_installed",))
    odd().save(tmp_path / "odd.pt2")
    out = tmp_path / "out"
    assert run(["compress", str(tmp_path / "odd.pt2"), "--prune", "macs=0.6", "--for", "tensorrt", "-o", str(out)]) == UNSUPPORTED  # fmt: skip
    assert not out.exists()
    assert run(["convert", str(tmp_path / "odd.pt2"), "--to", "tensorrt", "-o", str(out)]) == MISSING
    assert "edgepress[tensorrt]" in capsys.readouterr().err


def test_half_precision_is_for_float_networks(source: Artifact) -> None:
    quantized = dataclasses.replace(source, manifest=dataclasses.replace(source.manifest, precision="int8"))
    with pytest.raises(BadOption, match="float networks"):
        convert.find("onnx", "tensorrt")(weights="float16").check(quantized)


def test_a_halved_model_computes_in_half_and_takes_and_gives_float(
    program: Program, source: Artifact
) -> None:
    model = halved(onnx.load(source.path))
    onnx.checker.check_model(model, full_check=True)
    stored = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    assert stored == {onnx.TensorProto.FLOAT16}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    comparison = runtime.compare(
        program.run,
        lambda *arrays: tuple(session.run(None, {"pictures": arrays[0]})),
        [program.signature.example(4)],
    )
    assert comparison.sqnr_db > runtime.limit_db("float32", "float16")
    assert comparison.max_error > 0, "float16 is not float32"


def test_halving_clamps_and_leaves_what_onnx_has_in_float() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 4, 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    nodes = [
        onnx.helper.make_node("Clip", ["x", "low", "high"], ["clipped"]),
        onnx.helper.make_node("Resize", ["clipped", "", "scales"], ["y"]),
    ]
    stored = {
        "low": np.float32(-1e6),
        "high": np.float32(np.inf),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    initializers = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    model = halved(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], initializers)))
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert (found["low"], found["low"].dtype) == (-65504, np.float16)
    assert np.isinf(found["high"])
    assert found["scales"].dtype == np.float32


def small(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(
        onnx.helper.make_graph(list(nodes), "g", [x], [y]), opset_imports=[opset], ir_version=10
    )


def test_constants_of_every_kind_are_halved() -> None:
    nodes = [
        onnx.helper.make_node("Constant", [], ["one"], value_float=1.0),
        onnx.helper.make_node("Constant", [], ["two"], value_floats=[1.0, 2.0]),
        onnx.helper.make_node("Shape", ["x"], ["shape"]),
        onnx.helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        onnx.helper.make_node("Cast", ["shape"], ["count"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Sum", ["x", "one", "two", "zeros", "count"], ["y"]),
    ]
    session = onnxruntime.InferenceSession(halved(small(*nodes)).SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"x": np.float32([1, 2])})[0], np.float32([5, 7]))


def test_types_that_disagree_in_half_precision_are_told() -> None:
    """A random number is float32 unless its node says otherwise."""
    nodes = [
        onnx.helper.make_node("RandomNormal", [], ["noise"], shape=[2]),
        onnx.helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    with pytest.raises(UnsupportedModel, match="cannot be expressed in half precision"):
        halved(small(*nodes))


@pytest.fixture
def installed() -> Iterator[None]:
    try:
        plugins.require("tensorrt", "cuda", extra="tensorrt")
    except BackendMissing as error:
        pytest.skip(str(error))
    return


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("options", [{}, {"weights": "float16"}, {"batch": 4, "tf32": True}])
def test_a_real_engine_runs_as_the_program(
    installed: None, options: dict[str, object], program: Program, tmp_path: Path
) -> None:
    made = convert.to(program, "tensorrt", tmp_path / "model.tensorrt", options)
    with runtime.open(made) as runner:
        comparison = runtime.compare(program.run, runner.run, [program.signature.example(5)])
        assert runner.profile(3)
    # TF32 multiplies with the mantissa of float16.
    assert comparison.sqnr_db > runtime.limit_db("float32", "float16" if options else "float32")


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_a_real_engine_runs_a_quantized_network(installed: None, tmp_path: Path) -> None:
    from tflite_files import quantized

    network = quantized(tiny_networks.capture(tiny_networks.Residual))
    made = convert.to(network, "tensorrt", tmp_path / "model.tensorrt")
    with runtime.open(made) as runner:
        comparison = runtime.compare(network.run, runner.run, [network.signature.example(8)])
    # Symmetric codes have up to twice the step of those that the network was quantized with.
    assert comparison.sqnr_db > runtime.limit_db("float32", "int8")

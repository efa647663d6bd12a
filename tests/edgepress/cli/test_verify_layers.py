"""`edgepress verify --layers` finds a fault that was planted in a file: the layer is named as the user names it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite_files
import tiny_networks
from onnx import numpy_helper

from edgepress import convert, graph, ncnn_file, openvino_file, runtime
from edgepress.artifact import Artifact
from edgepress.cli import run
from edgepress.errors import BackendMissing, UnsupportedTarget
from edgepress.program import Program

UNSUPPORTED, FAILED = 3, 4
FORMATS = [
    "onnx",
    pytest.param("tflite", marks=pytest.mark.tflite),
    pytest.param("openvino", marks=pytest.mark.openvino),
    pytest.param("ncnn", marks=pytest.mark.ncnn),
]


def in_onnx(path: Path, layer: str, weight: np.ndarray) -> None:
    model = onnx.load(path)
    (stored,) = (each for each in model.graph.initializer if each.name == f"{layer}.weight")
    spoiled = numpy_helper.to_array(stored).reshape(-1)[::-1].reshape(stored.dims)
    stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(spoiled), stored.name))
    onnx.save(model, path)


def in_tflite(path: Path, layer: str, weight: np.ndarray) -> None:
    path.write_bytes(reversed_in(path.read_bytes(), weight.transpose(0, 2, 3, 1)))


def in_ncnn(path: Path, layer: str, weight: np.ndarray) -> None:
    with zipfile.ZipFile(path) as joined:
        text, weights = (joined.read(name) for name in (ncnn_file.GRAPH, ncnn_file.WEIGHTS))
    ncnn_file.write(path, text.decode(), reversed_in(weights, weight))


def in_openvino(path: Path, layer: str, weight: np.ndarray) -> None:
    with zipfile.ZipFile(path) as joined:
        graph_text, weights = (joined.read(name) for name in (openvino_file.GRAPH, openvino_file.WEIGHTS))
    openvino_file.write(path, graph_text, reversed_in(weights, weight))


def reversed_in(content: bytes, weight: np.ndarray) -> bytes:
    stored = np.ascontiguousarray(weight).tobytes()
    assert content.count(stored) == 1
    return content.replace(stored, np.ascontiguousarray(weight.reshape(-1)[::-1]).tobytes())


FAULTS: dict[str, Callable[[Path, str, np.ndarray], None]] = {
    "onnx": in_onnx,
    "tflite": in_tflite,
    "openvino": in_openvino,
    "ncnn": in_ncnn,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def quantized(program: Program) -> Program:
    return tflite_files.quantized(program)


class Files:
    """Each conversion is done once, and copied for every test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copy(self, program: Program, format: str, to: Path) -> tuple[Path, Path]:
        """The network's own file and the converted one."""
        made = self.folder / str(id(program))
        if not (made / f"model.{format}").exists():
            try:
                convert.check(program, format)
            except BackendMissing as missing:
                pytest.skip(str(missing))
            made.mkdir(exist_ok=True)
            program.save(made / "model.pt2")
            convert.to(program, format, made / f"model.{format}")
        for file in made.glob(f"model.{format}*"):
            shutil.copy(file, to)
        shutil.copy(made / "model.pt2", to)
        return to / "model.pt2", to / f"model.{format}"


def plant(file: Path, program: Program, layer: str) -> None:
    """The layer's weights in reverse order, in a file whose manifest vouches for it."""
    manifest = Artifact.open(file).manifest
    weight = graph.constant(
        module := program.graph_module(),
        next(node for node in module.graph.nodes if node.target == f"{layer}.weight"),
    )
    FAULTS[manifest.format](file, layer, weight.detach().numpy())
    Artifact.describe(file, manifest)


def verified(
    reference: Path, file: Path, code: int, capsys: pytest.CaptureFixture[str], *options: str
) -> dict[str, object]:
    capsys.readouterr()
    assert run(["verify", str(reference), str(file), "--layers", "--json", *options]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("layer", ["stem", "second"])
def test_a_planted_fault_is_found(
    files: Files,
    program: Program,
    format: str,
    layer: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reference, file = files.copy(program, format, tmp_path)
    sound = verified(reference, file, 0, capsys)
    assert sound["first_departing"] is None
    assert {"stem", "first", "second", "head"} <= {each["layer"] for each in sound["layers"]}
    plant(file, program, layer)
    found = verified(reference, file, FAILED, capsys)
    assert found["first_departing"] == found["largest_drop"] == layer
    recorded = Artifact.open(file).manifest.verification
    assert (recorded.status, recorded.results["first_departing_layer"]) == ("failed", layer)


@pytest.mark.parametrize("format", FORMATS[:3])
def test_a_fault_in_an_int8_file_is_found_against_the_float_network(
    files: Files,
    program: Program,
    quantized: Program,
    format: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, file = files.copy(quantized, format, tmp_path)
    program.save(tmp_path / "float.pt2")
    sound = verified(tmp_path / "float.pt2", file, 0, capsys)
    # 8 bits leave about 40 dB of these layers; all of them are above the limit of 10 dB.
    assert all(20 < each["sqnr_db"] < 60 for each in sound["layers"])
    plant(file, quantized, "first")
    # The mean over the picture hides it: the outputs are within what 8 bits may do, and only the layers tell.
    found = verified(tmp_path / "float.pt2", file, 0, capsys)
    assert found["first_departing"] == found["largest_drop"] == "first"


@pytest.mark.tflite
def test_between_two_converted_files(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = files.copy(program, "onnx", tmp_path)
    _, second = files.copy(program, "tflite", tmp_path)
    plant(second, program, "second")
    assert verified(first, second, FAILED, capsys)["first_departing"] == "second"


@pytest.mark.tflite
@pytest.mark.slow
@pytest.mark.parametrize("network", tiny_networks.NETWORKS[1:], ids=lambda network: network.__name__)
def test_sound_files_of_other_networks_have_no_departing_layer(
    files: Files, network: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tiny_networks.capture(network)
    for format in ("onnx", "tflite"):
        reference, file = files.copy(made, format, tmp_path)
        found = verified(reference, file, 0, capsys)
        assert found["first_departing"] is None
        # Float kernels differ by the order of their sums: 100 dB is ten times that.
        assert min(each["sqnr_db"] for each in found["layers"]) > 100


def test_the_table_names_the_layer(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, file = files.copy(program, "onnx", tmp_path)
    plant(file, program, "first")
    capsys.readouterr()
    assert run(["verify", str(reference), str(file), "--layers"]) == FAILED
    printed = capsys.readouterr()
    assert "first layer beyond the limit of 60 dB: first (Conv)" in printed.out
    assert "SQNR" in printed.err


def test_files_of_two_networks_are_told_apart(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    _, file = files.copy(program, "onnx", tmp_path)
    Program.capture(torch.nn.Linear(3, 4), (torch.zeros(2, 3),)).save(tmp_path / "other.pt2")
    assert run(["verify", str(tmp_path / "other.pt2"), str(file)]) == 2
    assert "do not come from the same network" in capsys.readouterr().err


def test_outputs_that_are_not_numbers_are_on_record(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN in a bias: nothing can be compared, and yet the layer is found."""
    reference, file = files.copy(program, "onnx", tmp_path)
    manifest = Artifact.open(file).manifest
    model = onnx.load(file)
    (stored,) = (each for each in model.graph.initializer if each.name == "second.bias")
    stored.CopyFrom(numpy_helper.from_array(np.full(16, np.nan, np.float32), stored.name))
    onnx.save(model, file)
    Artifact.describe(file, manifest)
    found = verified(reference, file, FAILED, capsys)
    assert found["first_departing"] == "second"
    recorded = Artifact.open(file).manifest.verification
    assert recorded.status == "failed"
    assert "NaN or infinity" in recorded.results["reason"]


def test_layers_are_not_offered_to_who_has_seen_them(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, file = files.copy(program, "onnx", tmp_path)
    plant(file, program, "stem")
    for options, offered in (([], True), (["--layers"], False)):
        assert run(["verify", str(reference), str(file), *options]) == FAILED
        assert ("edgepress verify --layers" in capsys.readouterr().err) is offered


def test_a_changed_file_is_refused(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, file = files.copy(program, "onnx", tmp_path)
    file.write_bytes(file.read_bytes() + b"\0")
    assert run(["verify", str(reference), str(file)]) == 2
    assert "hash differs" in capsys.readouterr().err


def test_a_file_that_its_runtime_refuses_is_on_record(
    files: Files, program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, file = files.copy(program, "onnx", tmp_path)
    manifest = Artifact.open(file).manifest
    file.write_bytes(file.read_bytes()[:200])
    Artifact.describe(file, manifest)
    assert run(["verify", str(reference), str(file)]) == 2
    assert "refuses the file" in capsys.readouterr().err
    assert Artifact.open(file).manifest.verification.status == "failed"


def test_every_runner_that_tells_names_the_users_layers(
    files: Files, program: Program, tmp_path: Path
) -> None:
    names = {graph.layer_name(node) for node in graph.operators(program.graph_module())}
    inputs = program.signature.example(3)
    for format in convert.formats():
        if not all(_tells_layers(name) for name in runtime.runners_of(format)[:1]):
            continue
        if any(_missing(runtime.find(name)) for name in runtime.runners_of(format)[:1]):
            continue
        _, file = files.copy(program, format, tmp_path)
        with runtime.open(file) as runner:
            found = runner.layer_outputs(*inputs)
        assert {output.layer for output in found} <= names | {spec.name for spec in program.signature.outputs}
        assert all(len(output.value) == 3 for output in found)


@pytest.mark.parametrize("name", ["coreml", "executorch", "paddle", "tensorrt"])
def test_a_runtime_that_tells_its_outputs_alone_says_so(
    files: Files, program: Program, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything else, so that it needs neither the runtime nor a sound file."""
    reference, like = files.copy(program, "onnx", tmp_path)
    (format,) = runtime.find(name).formats
    file = tmp_path / f"model.{format}"
    file.write_bytes(b"of that format")
    Artifact.describe(file, dataclasses.replace(Artifact.open(like).manifest, format=format))
    capsys.readouterr()
    assert run(["verify", str(reference), str(file), "--layers"]) == UNSUPPORTED
    assert f"does not give intermediate outputs.\n  where: runner {name}" in capsys.readouterr().err
    assert Artifact.open(file).manifest.verification is None


def _tells_layers(name: str) -> bool:
    try:
        runtime.find(name).require_layers()
    except UnsupportedTarget:
        return False
    return True


def _missing(runner: type) -> bool:
    try:
        runner.require()
    except BackendMissing:
        return True
    return False

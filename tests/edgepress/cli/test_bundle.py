"""The bundle: everything in it is right, and its Python example reproduces the outputs without edgepress."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from PIL import Image

from edgepress import convert
from edgepress.artifact import Artifact, Verification, manifest_path
from edgepress.cli import _bundle, run
from edgepress.data import open_data
from edgepress.errors import BackendMissing
from edgepress.files import sha256
from edgepress.preprocess import Preprocess
from edgepress.program import Program

USAGE, FAILED = 2, 4
LABELS = ("a cat", "a dog", "a ship", "a lorry")
PREPROCESSES = {
    "cut": Preprocess(size=(16, 16), shorter_side=20, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
    "stretched, BGR": Preprocess(
        size=(16, 16), scale=1.0, mean=(104, 117, 123), std=(1, 1, 1), channel_order="BGR"
    ),
}
CASES = [
    pytest.param("pt2", "cut", marks=pytest.mark.slow),
    ("onnx", "cut"),
    pytest.param("tflite", "stretched, BGR", marks=pytest.mark.tflite),
    pytest.param("ncnn", "cut", marks=pytest.mark.ncnn),
    pytest.param("mnn", "cut", marks=pytest.mark.mnn),
    pytest.param("openvino", "cut", marks=pytest.mark.openvino),
    pytest.param("pte", "cut", marks=pytest.mark.executorch),
]

ALONE = """
import runpy, sys
sys.modules["edgepress"] = None  # any import of it fails
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def run_alone(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The bundle's example, isolated from the user's environment and from edgepress."""
    return _run(bundle, "-c", ALONE, str(bundle / "run.py"), *arguments)


def _run(bundle: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", *words],
        cwd=bundle.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def captured(preprocess: Preprocess, labels: tuple[str, ...] = LABELS) -> Program:
    torch.manual_seed(0)
    module = tiny_networks.Residual()
    return Program.capture(module, (torch.zeros(2, 3, 16, 16),), preprocess=preprocess, labels=labels)


def written(program: Program, format: str, folder: Path, **options: object) -> Artifact:
    if format == "pt2":
        return program.save(folder / "network.pt2")
    try:
        return convert.to(program, format, folder / f"network.{format}", options)
    except BackendMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    return {name: captured(preprocess) for name, preprocess in PREPROCESSES.items()}


@pytest.fixture(scope="module")
def made(programs: dict[str, Program], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return written(programs["cut"], "onnx", tmp_path_factory.mktemp("made"))


@pytest.fixture
def artifact(made: Artifact, tmp_path: Path) -> Artifact:
    """A copy that a test may change."""
    for path in (made.path, manifest_path(made.path)):
        shutil.copy(path, tmp_path)
    return Artifact.open(tmp_path / made.path.name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of JPEGs, wide and high: cut from the photograph that comes with scikit-learn."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the photograph comes with scikit-learn")
    photograph = Image.fromarray(datasets.load_sample_image("china.jpg"))
    folder = tmp_path_factory.mktemp("pictures")
    for place in range(8):
        width, height = (301, 204) if place % 2 else (187, 411)
        cut = photograph.crop((40 * place, 2 * place, 40 * place + width, 2 * place + height))
        (folder / str(place % 4)).mkdir(exist_ok=True)
        cut.save(folder / str(place % 4) / f"{place}.jpg")
    return folder


@pytest.mark.parametrize(("format", "preprocess"), CASES)
def test_the_example_reproduces_the_samples_and_reads_a_picture(
    programs: dict[str, Program], pictures: Path, format: str, preprocess: str, tmp_path: Path
) -> None:
    program = programs[preprocess]
    artifact = written(program, format, tmp_path)
    bundle = tmp_path / "bundle"
    data = ["--data", f"folder:{pictures}", "--train-share", "0.5"]
    assert run(["bundle", str(artifact.path), *data, "-o", str(bundle)]) == 0
    done = run_alone(bundle)
    assert done.returncode == 0, done.stderr
    # The same runtime on the same machine, a sample at a time as when the outputs were made: bit for bit. But MNN
    # chooses its kernels anew for every session, so there only float's rounding is left: 100 dB is ten times that.
    sqnr_db = float(done.stdout.partition("3 samples: SQNR ")[2].split()[0])
    assert sqnr_db > 100 if format == "mnn" else sqnr_db == math.inf
    picture = next(pictures.glob("*/*.jpg"))
    shown = run_alone(bundle, str(picture))
    assert shown.returncode == 0, shown.stderr
    scores = _scores(program, picture, tmp_path)
    # Behind them MNN says what the processor has.
    found = [line.split(maxsplit=1) for line in shown.stdout.splitlines()[: len(scores)]]
    assert [label for _, label in found] == [LABELS[place] for place in np.argsort(-scores)]
    # Four decimals are printed; float kernels differ in the seventh digit of scores up to a hundred.
    assert [float(score) for score, _ in found] == pytest.approx(-np.sort(-scores), rel=1e-5, abs=2e-4)


def _scores(program: Program, picture: Path, folder: Path) -> np.ndarray:
    """What the network gives for the picture as edgepress itself reads it."""
    (folder / "one" / "class").mkdir(parents=True)
    shutil.copy(picture, folder / "one" / "class")
    data = open_data(f"folder:{folder / 'one'}")
    (batch,) = data.batches("evaluate", program.preprocess)
    return program.run(*batch.inputs)[0][0]


def test_what_is_in_it(
    programs: dict[str, Program], artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = programs["cut"]
    bundle = tmp_path / "deep" / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(printed["files"]) == sorted(file.name for file in bundle.iterdir())
    assert set(printed["files"]) == {
        "model.onnx", "manifest.json", "bundle.json", "preprocess.json", "labels.txt", "samples.npz", "sample0.f32",
        "run.py", "network.py", "README.md",
    }  # fmt: skip
    contents = json.loads((bundle / "bundle.json").read_text())
    assert contents["sha256"] == {"model.onnx": sha256(artifact.path)}
    told = json.loads((bundle / "preprocess.json").read_text())
    assert (told["size"], told["resize"]["shorter_side"], told["channel_order"]) == ([16, 16], 20, "RGB")
    assert (bundle / "labels.txt").read_text().splitlines() == list(LABELS)
    with np.load(bundle / "samples.npz") as samples:
        assert samples["input0"].shape == (3, 3, 16, 16)
        np.testing.assert_allclose(
            samples["output0"], program.run(samples["input0"])[0], rtol=1e-4, atol=1e-5
        )
        raw = np.fromfile(bundle / "sample0.f32", np.float32)
        np.testing.assert_array_equal(raw.reshape(3, 16, 16), samples["input0"][0])
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.tflite
def test_a_tflite_bundle_has_its_own_layout_and_examples(
    programs: dict[str, Program], tmp_path: Path
) -> None:
    artifact = written(programs["cut"], "tflite", tmp_path, batch=2)
    bundle = tmp_path / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    assert {"main.cpp", "Network.kt"} <= {file.name for file in bundle.iterdir()}
    with np.load(bundle / "samples.npz") as samples:
        raw = np.fromfile(bundle / "sample0.f32", np.float32)
        np.testing.assert_array_equal(raw.reshape(16, 16, 3), samples["input0"][0].transpose(1, 2, 0))
    assert "as expected" in run_alone(bundle).stdout


def test_a_coded_networks_example_runs_with_edgepress(programs: dict[str, Program], tmp_path: Path) -> None:
    artifact = written(programs["cut"], "epz", tmp_path)
    bundle = tmp_path / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    done = _run(bundle, str(bundle / "run.py"))
    assert done.returncode == 0, done.stderr
    # The same graph on the same kernels.
    assert "3 samples: SQNR inf dB" in done.stdout


def test_a_changed_network_is_noticed(artifact: Artifact, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    with np.load(bundle / "samples.npz") as samples:
        arrays = dict(samples)
    np.savez(bundle / "samples.npz", **arrays | {"output0": arrays["output0"] + 1})
    done = run_alone(bundle)
    assert done.returncode == FAILED
    assert "WRONG" in done.stdout


def test_a_network_that_takes_no_pictures_needs_no_pillow(artifact: Artifact, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    (bundle / "preprocess.json").unlink()

    without = ALONE.replace('sys.modules["edgepress"]', 'sys.modules["edgepress"] = sys.modules["PIL"]')
    done = _run(bundle, "-c", without, str(bundle / "run.py"))
    asked = run_alone(bundle, "picture.jpg")

    assert done.returncode == 0, done.stderr
    assert asked.returncode == 1
    assert asked.stderr.startswith("There is no preprocess.json")


def test_what_failed_is_refused(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact.verified(Verification(status="failed", results={"sqnr_db": 3.25}))
    arguments = ["bundle", str(artifact.path), "-o", str(tmp_path / "bundle")]
    assert run(arguments) == FAILED
    assert "sqnr_db 3.25" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
    assert run([*arguments, "--force"]) == 0
    assert "do not ship it yet" in capsys.readouterr().err


def test_only_bundles_are_replaced(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    (bundle / "left over").touch()
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == 0
    assert not (bundle / "left over").exists()
    (bundle / "bundle.json").unlink()
    assert run(["bundle", str(artifact.path), "-o", str(bundle)]) == USAGE
    assert "not ours to replace" in capsys.readouterr().err
    assert (bundle / "run.py").exists()


def test_a_corrupted_file_is_refused(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact.path.write_bytes(artifact.path.read_bytes()[:-1])
    assert run(["bundle", str(artifact.path), "-o", str(tmp_path / "bundle")]) == USAGE
    assert "hash differs" in capsys.readouterr().err


def test_a_new_format_says_so_where_it_has_no_example() -> None:
    assert _bundle.examples("no_such_format") == {}
    assert _bundle.examples("ncnn") == {
        "ncnn_main.cpp": "main.cpp",
        "ncnn_network.py": "network.py",
        "run.py": "run.py",
    }

"""Broken recipes, weights, data and folders: told with what, where and what to do; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from edgepress.cli import run

USAGE, UNSUPPORTED = 2, 3

NETWORK = """
import torch

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3)
        self.fc = torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))

def network():
    torch.manual_seed(0)
    return Small(), (torch.zeros(2, 3, 8, 8),)

def without_values():
    with torch.device("meta"):
        return Small(), (torch.zeros(2, 3, 8, 8),)

x, y = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 4

def good(): return [(x, y)]
def nan(): return [(x * float("nan"), y)]
def integers(): return [(x.int(), y)]
def ragged(): return [([[1, 2], [3]], [0, 1])]
def two_sizes(): return [(x, y), (x[..., :7, :7], y)]
def sparse(): return [(x.to_sparse(), y)]
def unlabelled(): return [(x,)]
def label_too_high(): return [(x, y + 96)]
def label_below_zero(): return [(x, y - 1)]
def one_hot(): return [(x, torch.eye(4)[y])]
def only_training(): return {"train": [(x, y)]}
def all_at_once(): return good
def used_up(batches=iter([])): return batches

def late():
    yield x, y
    raise RuntimeError("the disk is gone")
"""


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, and the current one."""
    (tmp_path / "mine.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr says, once the exit code is as wanted and nothing is left."""
    capsys.readouterr()
    assert run(arguments) == code
    assert not Path("out").exists()
    assert not list(Path().glob("**/.*"))
    message = capsys.readouterr().err
    assert "bug" not in message
    return message


DATA = {
    "nan": "NaN or infinite",
    "integers": "takes float32 Nx3x8x8",
    "ragged": "something that is not an array",
    "two_sizes": "differ in shape",
    "sparse": "something that is not an array",
    "unlabelled": "fine_tune needs labels",
    "label_too_high": "label 99 has no score",
    "label_below_zero": "label -1 has no score",
    "one_hot": "one integer a sample",
    "only_training": "no split 'evaluate'",
    "all_at_once": "returned function, not batches",
    "used_up": "holds nothing to train with",
    "late": "the disk is gone",
}


@pytest.mark.parametrize("name", DATA)
def test_batches_that_do_not_fit(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    stages = ["--prune", "macs=0.6", "--fine-tune", "epochs=1,batch_size=8"]
    message = told(
        ["compress", "mine.py:network", "--data", f"mine.py:{name}", *stages, "-o", "out"], USAGE, capsys
    )
    assert DATA[name] in message


@pytest.mark.parametrize(
    ("teacher", "said"),
    [("none.pt2", "The program 'none.pt2' does not exist"), ("resnet20", "The teacher's inputs")],
)
@pytest.mark.parametrize(
    "stage", ["--distill={}", "--stage=prune_channels_gradually:macs=0.6,tune.teacher={}"]
)
def test_a_teacher_is_asked_for_before_any_stage(
    stage: str, teacher: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ["--prune", "macs=0.8", stage.format(teacher)]
    run = ["compress", "mine.py:network", "--data", "mine.py:good", *stages, "-o", "out"]
    assert said in told(run, USAGE, capsys)


def test_data_that_does_not_fit_is_told_before_a_file_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    convert = ["convert", "mine.py:network", "--to", "onnx", "-o", "out"]
    assert "takes float32" in told([*convert, "--data", "mine.py:integers"], USAGE, capsys)


ARRAYS = {
    "scalar": ({"x": np.float32(3)}, "it has no samples"),
    "nan": ({"x": np.full((8, 3, 8, 8), np.nan, np.float32)}, "NaN"),
    "objects": ({"x": np.array([{}], dtype=object)}, "objects (pickle) are never loaded"),
    "shifted": ({"x": np.zeros((8, 3, 8, 8), np.float32), "y": np.arange(3)}, "one integer a sample"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, said = ARRAYS[name]
    np.savez("arrays.npz", **arrays)
    compress = ["compress", "mine.py:network", "--data", "npz:arrays.npz", "--quantize", "int8", "-o", "out"]
    assert said in told(compress, USAGE, capsys)


RECIPES = {
    "stages: 3": "'stages' takes a list, not 3",
    "stages: prune_channels": "takes a list",
    "stages: {prune_channels: {macs: 0.5}}": "takes a list",
    "stages:\n- prune_channels: 3": "Options are written key: value, not 3",
    "stages:\n- prune_channels: macs": "Options are written key: value",
    "stages:\n- prune_channels: {macs: 0.5}\nrules: 3": "'rules' takes a list",
    "stages:\n- prune_channels: {macs: 0.5}\nrules: [3]": "Options are written key: value, not 3",
    "stages:\n\t- distill": "not valid YAML",
    "stages: [null]": "one name with its options",
    "stages:\n- prune_channels: {macs: [0.5]}": "macs=[0.5]",
    "stages:\n- prune_channels: {macs: .nan}": "macs=nan",
    "stages:\n- fine_tune: {learning_rate: 1.0e+300}": "learning_rate=1e+300",
    "!!python/object/apply:os.system ['true']": "not valid YAML",
    "- prune_channels": "A recipe is a mapping",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_that_is_none(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yaml").write_text(recipe)
    message = told(["compress", "mine.py:network", "-r", "recipe.yaml", "-o", "out"], USAGE, capsys)
    assert RECIPES[recipe] in message
    assert "where: recipe.yaml" in message


AFTER_QUANTIZING = [
    ["--prune", "macs=0.6"],
    ["--fine-tune", "1"],
    ["--distill", "epochs=1"],
    ["--quantize", "int8"],
]


@pytest.mark.parametrize("stage", AFTER_QUANTIZING, ids=lambda stage: stage[0])
def test_the_order_of_stages_is_checked_before_the_first(
    stage: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    compress = [
        "compress",
        "mine.py:network",
        "--data",
        "mine.py:good",
        "--quantize",
        "int8",
        *stage,
        "-o",
        "out",
    ]
    message = told(compress, UNSUPPORTED, capsys)
    assert "not on a quantized network" in message
    assert "by stage 1, quantize_static" in message


def _weights(change: str) -> dict[str, torch.Tensor]:
    from edgepress import models

    torch.manual_seed(0)
    state = dict(models.find("lenet5")().state_dict())
    changes = {
        "nan": lambda value: value * float("nan"),
        "integer": lambda value: value.to(torch.int8),
        "complex": lambda value: value.to(torch.complex64),
        "sparse": lambda value: value.to_sparse(),
        "meta": lambda value: value.to("meta"),
    }
    return {name: changes[change](value) for name, value in state.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nan", "not finite"),
        ("integer", "int8 on cpu, not plain float32"),
        ("complex", "complex64"),
        ("sparse", "sparse_coo"),
        ("meta", "on meta"),
    ],
)
def test_weights_that_are_none(change: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(_weights(change), "weights.pt")
    message = told(["inspect", "lenet5", "--weights", "weights.pt"], USAGE, capsys)
    assert said in message
    assert "conv1.weight" in message


def test_a_weights_file_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    content = safetensors.torch.save(_weights("nan"))
    Path("weights.safetensors").write_bytes(content[: len(content) // 2])
    message = told(["inspect", "lenet5", "--weights", "weights.safetensors"], USAGE, capsys)
    assert "may be cut short" in message


def test_a_network_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert "meta device" in told(["inspect", "mine.py:without_values"], USAGE, capsys)


PLACES = ["occupied", "occupied/inside", "/proc/edgepress", "x" * 300]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:20])
@pytest.mark.parametrize("command", ["compress", "convert"])
def test_a_folder_that_cannot_be_written(
    place: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("occupied").write_text("a file")
    work = ["--prune", "macs=0.6"] if command == "compress" else ["--to", "onnx"]
    message = told([command, "mine.py:network", *work, "-o", place], USAGE, capsys)
    assert place[:10] in message
    assert Path("occupied").read_text() == "a file"


MANIFESTS = {
    "no_json": (b"\xff\xfe", "cannot be read"),
    "nested": (b"[" * 100_000, "cannot be read"),
    "empty": (b"{}", "format: Field required"),
    "no_inputs": ({"inputs": [], "outputs": []}, "without inputs"),
    "no_type": ({"inputs": [{"name": "x", "shape": [None, 3], "dtype": "float9"}], "outputs": [{"name": "y", "shape": [None]}]}, "float9"),
    "below_zero": ({"inputs": [{"name": "x", "shape": [None, -3]}], "outputs": [{"name": "y", "shape": [None]}]}, "below zero"),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = MANIFESTS[name]
    Path("model.onnx").write_bytes(b"anything")
    if isinstance(content, dict):
        content = json.dumps({"format": "onnx", "signature": content}).encode()
    Path("model.onnx.manifest.json").write_bytes(content)
    assert said in told(["benchmark", "model.onnx"], USAGE, capsys)

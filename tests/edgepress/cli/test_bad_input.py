"""What a user can get wrong: each gives a message with what and what to do, the documented exit code, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.cli import run

USAGE, UNSUPPORTED, BUDGET = 2, 3, 5

CASES = [
    (["compres"], USAGE, "Did you mean 'compress'"),
    (["inspect", "mobilenet_v3"], USAGE, "Did you mean 'mobilenet_v"),
    (["inspect", "missing.pt2"], USAGE, "missing.pt2"),
    (["inspect", "lenet5", "--weights", "missing.safetensors"], USAGE, "missing.safetensors"),
    (["inspect", "lenet5", "--set", "clases=10"], USAGE, "Did you mean 'classes'"),
    (["inspect", "lenet5", "--set", "classes=ten"], USAGE, "classes"),
    (["inspect", "lenet5", "--input", "banana"], USAGE, "--input 3x224x224"),
    (["inspect", "lenet5", "--to", "onxn"], USAGE, "Did you mean 'onnx'"),
    (["inspect", "lenet5", "--preprocess", "sise=[32,32]"], USAGE, "Did you mean 'size'"),
    (["compress", "lenet5", "-o", "out"], USAGE, "No stage is given"),
    (["compress", "lenet5", "--prune", "macs=0.5"], USAGE, "-o FOLDER"),
    (["compress", "lenet5", "--prune", "mac=0.5", "-o", "out"], USAGE, "Did you mean 'macs'"),
    (["compress", "lenet5", "--prune", "macs=1.5", "-o", "out"], USAGE, "less than 1"),
    (["compress", "lenet5", "--prune", "macs=0.0001", "-o", "out"], BUDGET, "cannot be pruned that far"),
    (["compress", "lenet5", "--prune", "latency=1.5", "-o", "out"], USAGE, "between 0 and 1"),
    (["compress", "lenet5", "--prune", "latency=0.5,ratio=0.5", "-o", "out"], USAGE, "both set how much is removed"),
    (["compress", "lenet5", "--prune", "latency=0.6@gpu:litert", "-o", "out"], USAGE, "one of: "),
    (["compress", "lenet5", "--prune", "latency=0.6@cpu:litret", "-o", "out"], USAGE, "Did you mean 'litert'"),
    (["compress", "lenet5", "--prune", "latency=0.6@cpu", "-o", "out"], USAGE, "does not say which runtime"),
    (["compress", "lenet5", "--prune", "latency=0.6@cpu:torch", "-o", "out"], UNSUPPORTED, "cannot be timed on torch"),
    (["compress", "lenet5", "--quantize", "int8", "-o", "out"], USAGE, "needs data"),
    (["compress", "lenet5", "--quantize", "int9", "-o", "out"], USAGE, "int8"),
    (["compress", "lenet5", "--qat", "5", "-o", "out"], USAGE, "needs data"),
    (["compress", "lenet5", "--qat", "weight_bits=9", "-o", "out"], USAGE, "weight_bits=9"),
    (["compress", "lenet5", "--stage", "prune", "-o", "out"], USAGE, "prune_channels"),
    (["compress", "lenet5", "--fine-tune", "1", "--data", "folder:missing", "-o", "out"], USAGE, "missing"),
    (["compress", "lenet5", "--fine-tune", "1", "--data", "digit", "-o", "out"], USAGE, "Did you mean 'digits'"),
    (["compress", "lenet5", "--set", "classes=7", "--fine-tune", "1", "--data", "digits", "-o", "out"], USAGE, "10 classes"),
    (["compress", "lenet5", "-r", "missing.yaml", "-o", "out"], USAGE, "missing.yaml"),
    (["compress", "lenet5", "-r", "recipe.yaml", "--prune", "0.5", "-o", "out"], USAGE, "exclude each other"),
    (["compress", "lenet5", "--prune", "0.5", "--resume", "-o", "out"], USAGE, "nothing to resume"),
    (["convert", "lenet5", "--to", "tflight", "-o", "out"], USAGE, "Did you mean 'tflite'"),
    (["convert", "lenet5", "--to", "tflite", "--option", "tflite:oi=int8", "-o", "out"], USAGE, "Did you mean 'io'"),
    (["verify", "a.onnx", "b.onnx"], USAGE, "a.onnx"),
    (["verify", "a.onnx", "b.onnx", "--max-drop", "1"], USAGE, "needs data"),
    (["benchmark", "a.onnx", "--on", "gpu"], USAGE, "a.onnx"),
    (["benchmark"], USAGE, "Missing argument"),
    (["report", "missing"], USAGE, "missing"),
    (["inspect", ""], USAGE, "'' is not a network"),
    (["inspect", "lenet5", "--to", ""], USAGE, "no format named ''"),
    (["inspect", "lenet5", "--to", "onnx,"], USAGE, "no format named ''"),
    (["inspect", "lenet5", "--set", "classes=99999999999999"], USAGE, "not enough memory"),
    (["inspect", "lenet5", "--preprocess", "std=[0]"], USAGE, "greater than 0"),
    (["inspect", "lenet5", "--preprocess", "mean=[.nan]"], USAGE, "mean.0=nan"),
    (["inspect", "mobilenet_v2", "--preprocess", "mean=[1,2]"], USAGE, "mean has 2 entries for 3 channels"),
    (["inspect", "x" * 5000], USAGE, "File name too long"),
    (["compress", "lenet5", "--prune", "0.5", "--resume", "--overwrite", "-o", "out"], USAGE, "exclude each other"),
    (["compress", "lenet5", "--prune", "0.5", "-o", ""], USAGE, "No folder is named"),
    (["convert", "lenet5", "--to", "onnx", "-o", ""], USAGE, "No folder is named"),
    (["convert", "lenet5", "--to", "onnx", "--name", "..", "-o", "out"], USAGE, "is not a file name"),
    (["compress", "lenet5", "--prune", "macs=0.5,macs=0.6", "-o", "out"], USAGE, "given twice"),
    (["compress", "lenet5", "--prune", "macs=0.5", "--seed", "-1", "-o", "out"], USAGE, "seed=-1"),
    (["compress", "lenet5", "--prune", "macs=0.5", "--train-share", "nan", "-o", "out"], USAGE, "train_share=nan"),
    (["convert", "lenet5", "--to", "onnx", "--option", "tflite:io=int8", "-o", "out"], USAGE, "--to tflite"),
    (["convert", "lenet5", "--to", "onnx", "--name", "../escaped", "-o", "out"], USAGE, "not a file name"),
    (["verify", "a.onnx", "b.onnx", "--max-drop", "nan", "--data", "digits"], USAGE, "--max-drop"),
    (["verify", "a.onnx", "b.onnx", "--max-drop", "-1", "--data", "digits"], USAGE, "from 0 to 100"),
    (["verify", "a.onnx", "b.onnx", "--max-drop", "101", "--data", "digits"], USAGE, "from 0 to 100"),
    (["benchmark", "a.onnx", "--threads", "0"], USAGE, "--threads 1,2"),
    (["benchmark", "a.onnx", "--threads", "99999"], USAGE, "at most 1024"),
    (["stages", "prune_chanels"], USAGE, "Did you mean 'prune_channels'"),
    (["models", "resnet_20"], USAGE, "Did you mean 'resnet20'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_is_told_and_leaves_nothing(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "model.pt2").exists()
    assert not list(tmp_path.glob("**/.*"))


USER_FILES = {
    "branches": (
        "import torch\n"
        "class Branches(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x * 2 if x.sum() > 0 else x\n"
        "def network():\n"
        "    return Branches(), (torch.zeros(2, 3),)\n",
        UNSUPPORTED,
        "return x * 2 if x.sum() > 0 else x",
    ),
    "raises": ("def network():\n    return [][1]\n", USAGE, "return [][1]"),
    "no_module": ("def network():\n    return 1\n", USAGE, "torch.nn.Module"),
    "no_input": ("import torch\ndef network():\n    return torch.nn.ReLU()\n", USAGE, "--input"),
    "broken": ("def network(:\n", USAGE, "broken.py"),
}


@pytest.mark.parametrize("name", USER_FILES)
def test_a_users_file_that_does_not_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, code, said = USER_FILES[name]
    (tmp_path / f"{name}.py").write_text(content)
    assert run(["inspect", f"{tmp_path / name}.py:network"]) == code
    assert said in capsys.readouterr().err


def test_a_recipe_with_an_unknown_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stages:\n- prune_channels: {macs: 0.5, criterium: l1}\n")
    assert run(["compress", "lenet5", "-r", str(recipe), "-o", str(tmp_path / "out")]) == USAGE
    assert "Did you mean 'criterion'" in capsys.readouterr().err


def test_a_rule_that_matches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("stages:\n- prune_channels: {macs: 0.5}\nrules:\n- {layer: 'nothing.*', skip: true}\n")
    assert run(["compress", "lenet5", "-r", str(recipe), "-o", str(tmp_path / "out")]) == USAGE
    assert "matches no layer" in capsys.readouterr().err

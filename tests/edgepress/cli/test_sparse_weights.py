"""Pruning single weights from the command line: from the recipe to verified files, and every way to ask wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.cli import run
from edgepress.compress.fine_tune import FineTune
from edgepress.program import Program

USER_FILE = """
import tiny_networks, torch

def network():
    torch.manual_seed(0)
    return tiny_networks.Concatenated(), (torch.zeros(2, 3, 16, 16),)

def pool():
    return torch.nn.MaxPool2d(2), (torch.zeros(2, 3, 16, 16),)

def data():
    batches = list(tiny_networks.Patches(64).batches("train", None, batch_size=32))
    pairs = [(batch.inputs[0], batch.labels) for batch in batches]
    return {"train": pairs, "calibrate": pairs, "evaluate": pairs}
"""


def test_zeros_last_from_the_stage_over_an_interruption_to_the_files(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", f"{user}:data"]
    stages = ["--stage", "prune_weights:sparsity=0.5", "--fine-tune", "epochs=1,batch_size=32"]
    arguments = ["compress", f"{user}:network", *data, *stages, "-o", str(tmp_path)]

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FineTune, "apply", interrupt)
        assert run(arguments) == 130
    told = capsys.readouterr().err
    assert "50.0% of 5,040 weights are zero" in told
    assert "latency stays as it is unless the runtime skips zeros" in told
    assert run([*arguments, "--resume"]) == 0
    assert "weights, deflated bytes" in capsys.readouterr().out

    result = json.loads((tmp_path / "result.json").read_text())
    pruned, tuned = result["stages"]
    assert pruned["results"]["nonzero"] == 2520
    # 52 biases, of which none is zero.
    assert pruned["nonzero"] == tuned["nonzero"] == result["compressed"]["nonzero"] == 2520 + 52
    assert sum(layer["nonzero"] for layer in result["compressed"]["layers"]) == 2520 + 52
    assert tuned["deflated_bytes"] < 0.65 * result["original"]["deflated_bytes"]
    assert result["original"]["nonzero"] == result["original"]["parameters"]

    assert (
        run(["convert", str(tmp_path / "model.pt2"), *data, "--to", "onnx,tflite", "-o", str(tmp_path)]) == 0
    )
    for format in ("onnx", "tflite"):
        manifest = json.loads((tmp_path / f"model.{format}.manifest.json").read_text())
        assert manifest["verification"]["status"] == "passed"
    assert Program.load(tmp_path / "model.pt2").history.names() == ("prune_weights", "fine_tune")


def test_a_recipe_keeps_the_pattern(user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = ["--stage", "prune_weights:pattern=2:4", "--stage", "prune_weights_gradually:0.7,pattern=4x1"]
    assert run(["compress", f"{user}:network", *stages, "--save-recipe"]) == 0
    printed = capsys.readouterr().out
    assert "pattern: '2:4'" in printed
    (tmp_path / "recipe.yaml").write_text(printed)
    assert run(["compress", f"{user}:network", "-r", str(tmp_path / "recipe.yaml"), "--save-recipe"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("network", "stages", "code", "said"),
    [
        ("network", ["prune_weights:sparsity=1.5"], 2, "sparsity=1.5: input should be less than 1"),
        ("network", ["prune_weights:pattern=2of4"], 2, "write unstructured, N:M with N below M (2:4)"),
        ("network", ["prune_weights"], 2, "needs the share of weights"),
        ("network", ["prune_weights:0.7,pattern=2:4"], 2, "makes 50% of the weights zero"),
        ("network", ["prune_weights:pattern=1:7"], 3, "squeeze: its 3 input channels are no multiple of 7"),
        ("network", ["quantize_static", "prune_weights:0.5"], 3, "before the quantization"),
        ("network", ["prune_weights_gradually:pattern=2:4,schedule=regrow"], 2, "schedule=cubic"),
        ("pool", ["prune_weights:0.5"], 3, "No weight of this network can be pruned."),
    ],
)
def test_what_cannot_be_done_is_told_before_a_file_is_written(
    user: Path,
    capsys: pytest.CaptureFixture[str],
    network: str,
    stages: list[str],
    code: int,
    said: str,
) -> None:
    out = user.parent / "out"
    asked = [part for stage in stages for part in ("--stage", stage)]
    arguments = [
        "compress",
        f"{user}:{network}",
        "--data",
        f"{user}:data",
        *asked,
        "-o",
        str(out),
    ]
    assert run(arguments) == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(out.glob("*"))

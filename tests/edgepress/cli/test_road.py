"""The commands, one after the other, on a small network and data of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepress.cli import run

USER_FILE = """
import tiny_networks, torch

def network():
    torch.manual_seed(0)
    return tiny_networks.Residual(), (torch.zeros(2, 3, 16, 16),)

def data():
    batches = list(tiny_networks.Patches(192).batches("train", None, batch_size=32))
    pairs = [(batch.inputs[0], batch.labels) for batch in batches]
    return {"train": pairs, "calibrate": pairs, "evaluate": pairs}
"""


STAGES = ["--prune", "macs=0.6", "--distill", "epochs=1,batch_size=32", "--quantize", "int8"]


@pytest.fixture(scope="module")
def folder(user: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained, compressed and converted network."""
    folder = tmp_path_factory.mktemp("run")
    data = ["--data", f"{user}:data"]
    trained = folder / "trained"
    tune = ["--fine-tune", "epochs=6,learning_rate=0.05,batch_size=32"]
    assert run(["compress", f"{user}:network", *data, *tune, "-o", str(trained)]) == 0
    assert run(["compress", str(trained / "model.pt2"), *data, *STAGES, "-o", str(folder)]) == 0
    assert run(["convert", str(folder / "model.pt2"), *data, "--to", "onnx,tflite", "-o", str(folder)]) == 0
    return folder


def test_compress_leaves_what_it_says(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert [stage["name"] for stage in result["stages"]] == ["prune_channels", "distill", "quantize_static"]
    assert result["compressed"]["macs"] <= 0.6 * result["original"]["macs"]
    assert result["original"]["accuracy"]["top1"] > 90
    assert (folder / "recipe.yaml").read_text().startswith("stages:")
    assert not list(folder.glob(".*"))


def test_converted_files_are_verified(folder: Path) -> None:
    for format in ("onnx", "tflite"):
        manifest = json.loads((folder / f"model.{format}.manifest.json").read_text())
        assert manifest["verification"]["status"] == "passed"
        assert manifest["precision"] == "int8"
        names = [step["name"] for step in manifest["history"]["steps"]]
        assert names[-4:] == ["prune_channels", "distill", "quantize_static", f"program_to_{format}"]


def test_verify_measures_the_drop(
    folder: Path, user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ["--data", f"{user}:data", "--max-drop"]
    original = str(folder / "original.pt2")
    assert run(["verify", original, str(folder / "model.tflite"), *limit, "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1_reference"] > 90
    assert (
        run(["convert", f"{user}:network", "--to", "onnx", "--name", "untrained", "-o", str(tmp_path)]) == 0
    )
    assert run(["verify", original, str(tmp_path / "untrained.onnx"), *limit, "1"]) == 4
    assert "accuracy fell" in capsys.readouterr().err


def test_a_failed_verification_is_on_record(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / "trained" / "model.pt2"
    assert run(["convert", str(other), "--to", "onnx", "-o", str(tmp_path)]) == 0
    assert run(["verify", str(folder / "original.pt2"), str(tmp_path / "model.onnx")]) == 0
    assert run(["compress", str(other), "--prune", "macs=0.4", "-o", str(tmp_path / "pruned")]) == 0
    assert run(["convert", str(tmp_path / "pruned" / "model.pt2"), "--to", "onnx", "-o", str(tmp_path)]) == 0
    assert run(["verify", str(other), str(tmp_path / "model.onnx")]) == 4
    assert "SQNR" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "model.onnx.manifest.json").read_text())
    assert manifest["verification"]["status"] == "failed"


def test_benchmark_and_report(folder: Path, user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / f"model.{format}") for format in ("onnx", "tflite", "pt2")]
    quick = ["--protocol", "min_runs=10,rounds=5,min_seconds=0,max_warmup_runs=10"]
    capsys.readouterr()
    assert run(["benchmark", *files, "--threads", "1,2", *quick, "--data", f"{user}:data", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["format"], line["threads"]) for line in lines] == [
        (format, threads) for format in ("onnx", "tflite", "pt2") for threads in (1, 2)
    ]
    assert all(len(line["latency_ms"]) >= 10 and line["accuracy"]["samples"] == 192 for line in lines)
    assert run(["report", str(folder)]) == 0
    assert "<svg" in (folder / "report.html").read_text()


def test_save_recipe_prints_what_the_options_mean(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compress", f"{user}:network", *STAGES, "--prune", "macs=0.5", "--save-recipe"]) == 0
    printed = capsys.readouterr().out
    order = ["prune_channels", "distill", "quantize_static", "prune_channels"]
    assert [line.split()[1].rstrip(":") for line in printed.splitlines() if line.startswith("- ")] == order
    (tmp_path / "recipe.yaml").write_text(printed)
    assert run(["compress", f"{user}:network", "-r", str(tmp_path / "recipe.yaml"), "--save-recipe"]) == 0
    assert capsys.readouterr().out == printed


def test_an_interrupted_run_resumes(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgepress.compress.distill import Distill
    from edgepress.stage import Context

    arguments = ["compress", f"{user}:network", "--data", f"{user}:data", *STAGES, "-o", str(tmp_path)]

    def interrupt(self: Distill, program: object, context: Context) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Distill, "apply", interrupt)
        assert run(arguments) == 130
    finished = json.loads((tmp_path / "result.json").read_text())["stages"]
    assert [stage["name"] for stage in finished] == ["prune_channels"]
    assert run(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert run([*arguments, "--resume", "--fine-tune", "epochs=1"]) == 2
    assert "another recipe" in capsys.readouterr().err
    assert run([*arguments, "--resume"]) == 0
    resumed = json.loads((tmp_path / "result.json").read_text())["stages"]
    assert resumed[0] == finished[0]
    assert len(resumed) == 3
    straight = tmp_path / "straight"
    assert run([*arguments[:-1], str(straight)]) == 0
    whole = json.loads((straight / "result.json").read_text())
    assert whole["compressed"] == json.loads((tmp_path / "result.json").read_text())["compressed"]


def test_inspect_tells_cost_and_support(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["inspect", str(folder / "original.pt2"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["formats"]["onnx"] == told["formats"]["tflite"] == "yes"
    assert sum(layer["macs"] or 0 for layer in told["layers"]) == told["macs"] > 0


def test_resuming_checks_what_it_resumes(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compress", f"{user}:network", "--prune", "macs=0.6", "-o", str(tmp_path), "--resume"]
    assert run(arguments[:-1]) == 0
    assert run(arguments) == 0
    assert run(["compress", "lenet5", *arguments[2:]]) == 2
    assert "run in this folder was made from" in capsys.readouterr().err
    assert run([*arguments, "--data", f"{user}:data"]) == 2
    assert "with no data" in capsys.readouterr().err
    finished = (tmp_path / "model.pt2").read_bytes()
    (tmp_path / "model.pt2").write_bytes((tmp_path / "original.pt2").read_bytes())
    assert run(arguments) == 2
    assert "is not what result.json says" in capsys.readouterr().err
    (tmp_path / "model.pt2").write_bytes(finished[:1000])
    assert run(arguments) == 2
    assert "model.pt2" in capsys.readouterr().err
    (tmp_path / "result.json").write_text("{")
    assert run(arguments) == 2
    assert "cannot be read: Invalid JSON" in capsys.readouterr().err

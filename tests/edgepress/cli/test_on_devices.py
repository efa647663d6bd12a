"""The commands on another device, a real sshd: a device that fails costs exit code 7 and nothing that was done before."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import debian_programs
import numpy as np
import pytest
import real_sshd
import tiny_networks

from edgepress import convert
from edgepress.artifact import Artifact
from edgepress.cli import run
from edgepress.program import Program
from edgepress.runtime.remote import RemoteRunner

DEVICE_FAILED = 7
BENCHMARK = ("--protocol", "rounds=2,min_runs=4,min_seconds=0,max_warmup_runs=10")


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[real_sshd.Board]:
    fetch = debian_programs.may_fetch(request.config)
    made = real_sshd.board(tmp_path_factory.mktemp("board"), fetch=fetch)
    with made.on_path(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPRESS_CONFIG", str(made.folder / "config"))
        assert run(["devices", "add", "kitchen", f"ssh://{real_sshd.NAME}", "--python", sys.executable]) == 0
        yield made


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def reference(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.save(tmp_path_factory.mktemp("files") / "model.pt2").path


@pytest.fixture(scope="module")
def artifact(program: Program, reference: Path) -> Artifact:
    return convert.to(program, "onnx", reference.with_suffix(".onnx"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "measurements.jsonl").read_text().splitlines()]


def test_devices_are_shown_and_cleaned(
    board: real_sshd.Board, artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "show", "kitchen", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "onnxruntime" in shown["runtimes"]
    assert shown["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert shown["memory_mb"] > 100
    assert list((board.there / "edgepress" / "device").iterdir())
    assert run(["devices", "clean", "kitchen"]) == 0
    assert list((board.there / "edgepress").iterdir()) == []
    assert run(["devices", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kitchen"]["target"] == "ssh://board"


def test_a_benchmark_goes_on_after_the_device_that_failed(
    board: real_sshd.Board, artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["benchmark", str(artifact.path), "--on", "cpu,kitchen", *BENCHMARK, "-o", str(tmp_path)]
    with board.unknown():
        assert run(command) == DEVICE_FAILED
    assert "host key is not known here" in capsys.readouterr().err
    (first,) = lines(tmp_path)
    assert first["target"] == "cpu"
    assert run([*command, "--resume"]) == 0
    kept, added = lines(tmp_path)
    assert kept == first
    assert (added["target"], added["runner"], added["name"]) == ("kitchen", "onnxruntime", "model.onnx")
    assert len(added["latency_ms"]) == 4
    assert run([*command, "--resume"]) == 0
    assert len(lines(tmp_path)) == 2
    assert "kitchen" in capsys.readouterr().out


def test_a_verification_goes_on_where_the_link_was_cut(
    board: real_sshd.Board,
    reference: Path,
    artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["verify", str(reference), str(artifact.path), "--on", "kitchen", "--samples", "32"]
    asked: list[int] = []
    load_inputs = RemoteRunner.load_inputs

    def cut_at_the_third(runner: RemoteRunner, arrays: Sequence[np.ndarray]) -> None:
        asked.append(len(arrays[0]))
        if len(asked) == 3:
            board.cut()
        load_inputs(runner, arrays)

    monkeypatch.setattr(RemoteRunner, "load_inputs", cut_at_the_third)
    assert run(command) == DEVICE_FAILED
    assert "run again with --resume" in capsys.readouterr().err
    assert run([*command, "--resume", "--json"]) == 0
    assert asked == [8] * (3 + 2), "of the four batches, two were answered before"
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["samples"]) == ("passed", 32)
    verification = Artifact.open(artifact.path).manifest.verification
    assert verification is not None
    assert (verification.runner, verification.results["target"]) == ("onnxruntime", "kitchen")


def test_layers_are_compared_there(
    board: real_sshd.Board, reference: Path, artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["verify", str(reference), str(artifact.path), "--on", "kitchen", "--layers", "--samples", "8"]
    assert run([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["layers"]) >= 3


@pytest.mark.slow
def test_a_network_is_pruned_to_a_latency_there(
    board: real_sshd.Board, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "compress",
        str(reference),
        "--prune",
        "latency=0.8@kitchen#onnxruntime",
        "-o",
        str(tmp_path / "out"),
    ]
    with board.unknown():
        assert run(command) == DEVICE_FAILED
    assert run([*command, "--overwrite"]) in (0, 5)

"""How far networks agree with themselves, and that it is told of files which depart no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_tasks
import tiny_networks
import torch
from torch import nn

from edgepress import compress
from edgepress.cli import run
from edgepress.cli._own_agreement import own_sqnr_db
from edgepress.compress.quantize_dynamic import QuantizeDynamic
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.program import Program
from edgepress.recipe import Recipe

FAILED = 4


class Amplifying(nn.Module):
    """Sines so large that the last bit of a sum decides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(512, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(1e8 * self.layer(x))


class Casting(nn.Module):
    """PyTorch writes down which type it expects before a cast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.softmax(1).to(torch.float32) * 2.0


@pytest.fixture(scope="module")
def amplifying() -> Program:
    return Program.capture(Amplifying().eval(), (torch.zeros(2, 512),))


def own_db(program: Program) -> float | None:
    return own_sqnr_db(program, program.signature.example(4, seed=0))


def test_only_what_amplifies_departs_from_itself(amplifying: Program) -> None:
    for sound in (
        tiny_networks.capture(tiny_networks.Residual),
        Program.capture(Casting(), (torch.rand(2, 8),)),
    ):
        found = own_db(sound)
        assert found is not None
        assert found > 100
    amplified = own_db(amplifying)
    assert amplified is not None
    assert amplified < 20


@pytest.mark.parametrize("name", ["lstm_classifier", "seq2seq_step"])
def test_floats_of_every_kind_of_network_agree(name: str) -> None:
    program = small_tasks.captured(name)[1]
    found = own_sqnr_db(program, tuple(tensor.numpy() for tensor in small_tasks.inputs(name, 2, seed=7)))
    assert found is not None
    assert found > 100


@pytest.mark.parametrize("stage", [QuantizeStatic(samples=16), QuantizeDynamic()])
def test_integers_are_the_same_in_both(stage: QuantizeStatic | QuantizeDynamic) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    quantized = compress.apply(program, Recipe((stage,)), tiny_networks.Patches(32))
    found = own_db(quantized)
    assert found is not None
    assert found > 30


def test_an_operator_that_knows_no_float64_is_no_failure(
    amplifying: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> torch.Tensor:
        raise RuntimeError("not implemented for 'Double'")

    monkeypatch.setattr(torch.fx.Interpreter, "call_function", refuses)
    assert own_db(amplifying) is None


def test_who_verifies_is_told(
    amplifying: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    amplifying.save(tmp_path / "model.pt2")
    assert run(["convert", str(tmp_path / "model.pt2"), "--to", "onnx", "-o", str(tmp_path)]) == FAILED
    assert "own_sqnr_db" in capsys.readouterr().err
    assert run(["verify", str(tmp_path / "model.pt2"), str(tmp_path / "model.onnx")]) == FAILED
    assert "agrees with itself by" in " ".join(capsys.readouterr().err.split())


def test_a_fault_is_not_taken_for_amplification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    other = program.module()
    with torch.no_grad():
        next(other.parameters()).neg_()
    program.save(tmp_path / "model.pt2")
    program.replace(other).save(tmp_path / "other.pt2")
    assert run(["verify", str(tmp_path / "model.pt2"), str(tmp_path / "other.pt2")]) == FAILED
    assert "agrees with itself" not in capsys.readouterr().err

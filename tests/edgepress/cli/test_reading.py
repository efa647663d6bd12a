"""A network of another framework on the command line: read, compared with its own runtime, and used like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from edgepress import convert, models
from edgepress.cli import run
from edgepress.cli._reading import load
from edgepress.errors import BadOption, VerificationFailed


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    return convert.to(models.load("lenet5"), "onnx", tmp_path / "lenet5.onnx").path


def test_an_onnx_file_is_a_model_like_any_other(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compress", str(onnx_file), "--prune", "macs=0.5", "-o", str(tmp_path / "out")]

    assert run(command) == 0

    assert (tmp_path / "out" / "model.pt2").is_file()
    assert "MACs" in capsys.readouterr().out


def test_options_of_the_zoo_have_no_effect_on_a_file(onnx_file: Path) -> None:
    with pytest.raises(BadOption, match="--weights"):
        load(str(onnx_file), weights="weights.npz")


def test_a_reading_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong reader stands in for whatever a framework may have meant otherwise."""
    from edgepress.convert._onnx_reading.call import OPERATIONS

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    path = tmp_path / "network.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    assert load(str(path)).run(-np.ones((1, 4), np.float32))[0].max() == 0
    monkeypatch.setitem(OPERATIONS, "Relu", lambda call: call.tensor(0).abs())

    with pytest.raises(VerificationFailed, match="differ too much"):
        load(str(path))

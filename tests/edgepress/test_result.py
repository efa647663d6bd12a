"""result.json: written whole, read back equal, and refused with a reason."""

from __future__ import annotations

import pytest

from edgepress.accuracy import Accuracy
from edgepress.errors import BadInput
from edgepress.result import AccuracyChange, LayerFacts, NetworkFacts, RunResult, StageResult


@pytest.fixture
def result() -> RunResult:
    layers = (
        LayerFacts(name="conv1", type="conv2d", parameters=9, macs=81),
        LayerFacts(name="odd", type="x"),
    )
    facts = NetworkFacts(parameters=9, macs=81, weight_bytes=36, size_bytes=90, layers=layers)
    change = AccuracyChange(before=Accuracy(90.0, 99.0, 10))
    stage = StageResult(
        name="prune_channels", options={"macs": 0.5}, parameters=5, macs=40, weight_bytes=20, size_bytes=60,
        accuracy=change, seconds=1.5, results={"removed": {"conv1": 4}},
    )  # fmt: skip
    return RunResult(model="lenet5", data="digits", original=facts, compressed=facts, stages=(stage,))


def test_what_is_saved_is_loaded(result, tmp_path):
    assert result.save(tmp_path).name == "result.json"
    assert RunResult.load(tmp_path) == result


def test_not_counted_is_not_zero(result, tmp_path):
    result.save(tmp_path)
    assert [layer.macs for layer in RunResult.load(tmp_path).original.layers] == [81, None]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("{", "cannot be read: Invalid JSON"),
        ('{"model": 3}', "model: Input should be a valid string"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, content, what):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(BadInput, match=what):
        RunResult.load(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"'result.json' does not exist"):
        RunResult.load(tmp_path)

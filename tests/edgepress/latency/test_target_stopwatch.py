"""The stopwatch of real targets: what it refuses, that a layer is measured once, and that its table survives damage."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import plugins
from edgepress.benchmarks import Protocol
from edgepress.cache import cache_folder
from edgepress.errors import BackendMissing, BadOption, EdgepressError, UnknownName, UnsupportedTarget
from edgepress.latency import TargetStopwatch
from edgepress.latency._layer_probe import probe
from edgepress.latency._onnx_layer import write_layer
from edgepress.runtime import open as open_runner
from edgepress.stopwatch import LayerShape, Setting

QUICK = Protocol(rounds=2, min_runs=2, min_seconds=0, min_warmup_runs=1, max_warmup_runs=10)
TARGET = "cpu:onnxruntime"


def convolution(outputs: int) -> LayerShape:
    settings: tuple[tuple[str, Setting], ...] = (
        ("stride", (1, 1)),
        ("padding", (1, 1)),
        ("dilation", (1, 1)),
        ("groups", 1),
    )
    return LayerShape(
        operator="aten.conv2d.default", input=(1, 3, 8, 8), weight=(outputs, 3, 3, 3), settings=settings
    )


class Counting(TargetStopwatch):
    """Counts the layers it measures."""

    def __init__(self) -> None:
        super().__init__(layer_protocol=QUICK, network_protocol=QUICK)
        self.measured: list[LayerShape] = []

    def _measured(self, layers: Sequence[LayerShape], target: str) -> list[float]:
        self.measured += layers
        return super()._measured(layers, target)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path))
    return tmp_path / "latency"


def test_a_layer_is_measured_once(cache: Path) -> None:
    layers = [convolution(4), convolution(8), convolution(4)]
    first, second, third = Counting(), Counting(), Counting()
    measured = first.layer_costs(layers, TARGET)
    assert first.measured == layers[:2]
    assert all(math.isfinite(latency_ms) and latency_ms > 0 for latency_ms in measured)
    assert measured[0] == measured[2]
    assert second.layer_costs(layers, TARGET) == measured
    assert second.measured == []
    third.layer_costs([*layers, convolution(16)], TARGET)
    assert third.measured == [convolution(16)]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"conditions": 1}',
        "\x00\xff",
        '{"conditions": {}, "costs": {"x": -1}}',
        "[" * 100_000,
    ],
)
def test_a_broken_table_is_measured_anew(cache: Path, damage: str) -> None:
    Counting().layer_costs([convolution(4)], TARGET)
    (table,) = cache.iterdir()
    table.write_text(damage, encoding="latin-1")
    again = Counting()
    again.layer_costs([convolution(4)], TARGET)
    assert again.measured == [convolution(4)]
    assert len(json.loads(table.read_text())["costs"]) == 1


def test_times_that_are_none_are_measured_anew(cache: Path) -> None:
    Counting().layer_costs([convolution(4), convolution(8)], TARGET)
    (table,) = cache.iterdir()
    content = json.loads(table.read_text())
    for key, wrong in zip(sorted(content["costs"]), (float("nan"), -1.0), strict=True):
        content["costs"][key] = wrong
    table.write_text(json.dumps(content))
    again = Counting()
    again.layer_costs([convolution(4), convolution(8)], TARGET)
    assert len(again.measured) == 2


def test_a_table_of_other_conditions_is_another_table(cache: Path) -> None:
    Counting().layer_costs([convolution(4)], TARGET)
    two = Counting()
    two.threads = 2
    two.layer_costs([convolution(4)], TARGET)
    assert two.measured == [convolution(4)]
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPRESS_CACHE", str(tmp_path / "file"))
    assert Counting().layer_costs([convolution(4)], TARGET)[0] > 0


def test_the_cache_is_where_the_system_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEPRESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("latency") == tmp_path / "edgepress" / "latency"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("latency") == tmp_path / ".cache" / "edgepress" / "latency"


@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ("gpu:onnxruntime", UnknownName, "one of: "),
        ("cpu:onnxruntim", UnknownName, "Did you mean 'onnxruntime'"),
        ("cpu", BadOption, "cpu:litert, (.*, )?cpu:onnxruntime"),
        ("cpu:torch", UnsupportedTarget, "no conversion writes files for this runtime"),
    ],
)
def test_what_cannot_be_timed_is_refused(target: str, error: type[EdgepressError], said: str) -> None:
    with pytest.raises(error, match=said):
        TargetStopwatch().check(tiny_networks.capture(tiny_networks.Residual), target)


def test_a_missing_backend_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = plugins.importlib.util.find_spec
    monkeypatch.setattr(
        plugins.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "ai_edge_litert" else find_spec(name, *rest),
    )
    with pytest.raises(BackendMissing, match=r"edgepress\[tflite\]"):
        TargetStopwatch().check(tiny_networks.capture(tiny_networks.Residual), "cpu:litert")


def test_a_network_beside_itself_and_beside_another(cache: Path) -> None:
    stopwatch = Counting()
    one, other = (tiny_networks.capture(network) for network in tiny_networks.NETWORKS[:2])
    alone = stopwatch.ratio(one, one, "cpu:litert")
    assert (alone.value, alone.low, alone.high) == (1, 1, 1)
    both = stopwatch.ratio(one, other, "cpu:litert")
    assert 0 < both.low <= both.high
    assert both.original_cost > 0
    assert not cache.exists()


PLAIN: dict[str, Setting] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
LAYERS = {
    "convolution": (
        "aten.conv2d.default",
        (1, 6, 9, 9),
        (4, 6, 3, 3),
        PLAIN | {"stride": (2, 2), "padding": (1, 1)},
    ),
    "grouped": ("aten.conv2d.default", (1, 6, 9, 9), (4, 3, 3, 3), PLAIN | {"groups": 2, "dilation": (2, 2)}),
    "same": ("aten.conv2d.padding", (1, 6, 9, 9), (4, 6, 2, 2), PLAIN | {"padding": "same"}),
    "one axis": (
        "aten.conv1d.default",
        (1, 6, 9),
        (4, 6, 3),
        {"stride": (2,), "padding": (1,), "dilation": (1,), "groups": 1},
    ),
    "transposed": (
        "aten.conv_transpose2d.input",
        (1, 6, 9, 9),
        (6, 2, 3, 3),
        PLAIN | {"stride": (2, 2), "output_padding": (1, 1), "groups": 2},
    ),
    "linear": ("aten.linear.default", (1, 6), (4, 6), {}),
    "linear on a sequence": ("aten.linear.default", (1, 5, 6), (4, 6), {}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_file_written_by_hand_is_the_layer(name: str, tmp_path: Path) -> None:
    """The same weights through PyTorch give what the file gives: float32 sums in another order, so to 1e-5."""
    import onnx
    import torch
    from onnx import numpy_helper

    operator, input, weight, settings = LAYERS[name]
    shape = LayerShape(operator=operator, input=input, weight=weight, settings=tuple(settings.items()))
    artifact = write_layer(shape, tmp_path / "layer.onnx")
    path = artifact.path
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    program = probe(shape)
    values = np.random.default_rng(1).standard_normal((2, *input[1:])).astype(np.float32)
    module = program.graph_module()
    parameters = dict(module.named_parameters())
    kernel = stored["weight"].T if name == "linear on a sequence" else stored["weight"]
    with torch.no_grad():
        parameters["weight"].copy_(torch.from_numpy(kernel.copy()))
        expected = module(torch.from_numpy(values))
    with open_runner(path) as runner:
        runner.load_inputs([values])
        runner.invoke()
        (found,) = runner.read_outputs()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert artifact.manifest.signature.outputs[0].with_batch(2) == found.shape

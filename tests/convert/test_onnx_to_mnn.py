"""MNN files: float, with small weights, and int8 with our own scales."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import small_tasks
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, graph, isolation, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._mnn import convert as mnn_convert
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

pytest.importorskip("MNN", reason="needs the mnn extra")
pytestmark = pytest.mark.mnn


def quantized(program: Program, rules: tuple[Rule, ...] = ()) -> Program:
    recipe = Recipe((QuantizeStatic(samples=64),), Rules(rules))
    return compress.apply(program, recipe, tiny_networks.Patches(64))


def compared(program: Program, artifact: Artifact) -> runtime.Comparison:
    inputs = next(tiny_networks.Patches(64).batches("evaluate", None)).inputs
    with runtime.open(artifact) as runner:
        return runtime.compare(program.run, runner.run, [inputs])


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
def test_a_quantized_network_is_int8_in_mnn(network: type[nn.Module], tmp_path: Path) -> None:
    program = quantized(tiny_networks.capture(network))
    artifact = convert.to(program, "mnn", tmp_path / "model.mnn")
    # The same integers and scales: what is left are single steps of rounding. 30 dB is 3 % of the outputs.
    assert compared(program, artifact).sqnr_db > 30
    weighted = [node for node in graph.operators(program.graph_module()) if node.target in graph.WEIGHTED]
    assert artifact.manifest.quality == {"int8_layers": len(weighted), "float_layers": 0}
    assert artifact.manifest.precision == "int8"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == ["model.mnn"]


def test_max_pooling_of_quantized_values_is_right(tmp_path: Path) -> None:
    """Values in the upper half of their code, which MNN's int8 kernel takes for negative on x86."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3, padding=1)
            self.second = nn.Conv2d(16, 8, 3, padding=1)
            self.head = nn.Conv2d(24, 4, 1)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            first = torch.relu(self.first(pictures))
            both = torch.cat([first, torch.relu(self.second(first))], 1)
            return self.head(nn.functional.max_pool2d(both, 3, 2)).mean([2, 3])

    program = quantized(tiny_networks.capture(Pooled))
    artifact = convert.to(program, "mnn", tmp_path / "model.mnn")
    assert compared(program, artifact).sqnr_db > 30


def test_a_layer_left_in_float_stays_in_float(tmp_path: Path) -> None:
    program = quantized(
        tiny_networks.capture(tiny_networks.Residual), rules=(Rule(layer="second", skip=True),)
    )
    artifact = convert.to(program, "mnn", tmp_path / "model.mnn")
    assert artifact.manifest.quality == {"int8_layers": 3, "float_layers": 1}
    assert compared(program, artifact).sqnr_db > 30


@pytest.mark.parametrize(("weights", "limit_db", "share"), [("float16", 60, 0.6), ("int8", 35, 0.5)])
def test_float_networks_can_have_small_weights(
    weights: str, limit_db: float, share: float, tmp_path: Path
) -> None:
    program = tiny_networks.capture(tiny_networks.Concatenated)
    whole = convert.to(program, "mnn", tmp_path / "whole.mnn")
    artifact = convert.to(program, "mnn", tmp_path / "model.mnn", {"weights": weights})
    assert artifact.manifest.size_bytes < share * whole.manifest.size_bytes
    assert artifact.manifest.precision == weights
    # Rounding to 11 bits, or to 8 with a scale a channel, through three layers.
    assert compared(program, artifact).sqnr_db > limit_db


def test_zero_weights_stay_zero_in_int8(tmp_path: Path) -> None:
    """Otherwise the equal rounding of many zeros adds up, which a sparse network does not survive."""
    layer = nn.Conv2d(16, 8, 3)
    with torch.no_grad():
        layer.weight[:] = torch.where(torch.rand_like(layer.weight) < 0.1, layer.weight - 0.05, 0.0)
    program = Program.capture(layer, (torch.zeros(2, 16, 8, 8),))
    artifact = convert.to(program, "mnn", tmp_path / "model.mnn", {"weights": "int8"})
    inputs = (np.random.default_rng(0).random((2, 16, 8, 8), np.float32),)
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [inputs])
    assert comparison.sqnr_db > 35


def test_a_text_network_under_its_mask_of_padding(tmp_path: Path) -> None:
    _, program = small_tasks.captured("bert_small")
    inputs = tuple(each.numpy() for each in small_tasks.inputs("bert_small", 2))
    with runtime.open(convert.to(program, "mnn", tmp_path / "model.mnn")) as runner:
        assert runtime.compare(program.run, runner.run, [inputs]).sqnr_db > 80


def test_small_weights_are_for_float_networks(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="float networks"):
        convert.to(
            quantized(tiny_networks.capture(tiny_networks.Separable)),
            "mnn",
            tmp_path / "m.mnn",
            {"weights": "int8"},
        )


@pytest.mark.parametrize(
    "ending", ["print('a reason'); raise SystemExit(3)", "import ctypes; ctypes.string_at(0)"]
)
def test_a_crash_of_the_converter_is_told_and_leaves_nothing(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "tool.py"
    crashing.write_text(ending)
    monkeypatch.setattr(mnn_convert, "TOOL", crashing)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(UnsupportedModel, match=r"a reason \(exit code 3\)|signal 11 \(SIGSEGV\)"):
        convert.to(tiny_networks.capture(tiny_networks.Residual), "mnn", tmp_path / "out" / "model.mnn")
    assert not list(temporary.iterdir())
    assert not list((tmp_path / "out").iterdir())


def test_the_converter_imports_nothing_that_calls_home(tmp_path: Path) -> None:
    """The C module alone: MNN's Python modules around it would install a package that reports each use."""
    script = tmp_path / "listing.py"
    text = mnn_convert.TOOL.read_text(encoding="utf-8").replace("_tools.mnnconvert", "len")
    script.write_text(f"{text}\nprint([name for name in sys.modules if name.startswith('MNN')])")
    assert isolation.run_script(script, folder=tmp_path).output.splitlines()[0] == "[]"


@pytest.mark.slow
def test_large_linear_layers_are_int8_too(tmp_path: Path) -> None:
    """More than a million weights, which MNN's converter lays aside while it reads ONNX."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(768, 1400)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.head(pictures.flatten(1))

    program = quantized(tiny_networks.capture(Wide))
    assert compared(program, convert.to(program, "mnn", tmp_path / "model.mnn")).sqnr_db > 30


def test_pools_that_end_the_process_are_refused(tmp_path: Path) -> None:
    """MNN converts these files, and crashes where it executes them."""
    program = Program.capture(nn.AvgPool3d(2), (torch.zeros(2, 3, 8, 8, 8),))
    with pytest.raises(UnsupportedModel, match="no operator AveragePool for windows of three axes"):
        convert.to(program, "mnn", tmp_path / "model.mnn")

"""What a saved `.pt2` holds, and who can load it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgepress import graph
from edgepress.errors import UnsupportedModel
from edgepress.program import Program

FRESH = """
import sys
import numpy as np
from edgepress.program import Program
program = Program.load(sys.argv[1])
np.save(sys.argv[2], program.run(np.load(sys.argv[3]))[0])
assert not any(name.startswith("model_of_mine") for name in sys.modules)
"""

MODEL = """
import torch
class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        y = self.conv(x)
        a, b = y.chunk(2, 1)
        return torch.cat([b.relu(), a.transpose(2, 3)], 1).reshape(y.shape[0], -1)
"""


def test_a_fresh_process_without_the_models_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_of_mine.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    from model_of_mine import Mine

    program = Program.capture(Mine(), (torch.zeros(2, 3, 8, 8),))
    program.save(tmp_path / "model.pt2")
    (tmp_path / "model_of_mine.py").unlink()
    x = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = [str(tmp_path / name) for name in ("model.pt2", "y.npy", "x.npy")]
    subprocess.run([sys.executable, "-c", FRESH, *arguments], check=True, cwd="/")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), program.run(x)[0])


def quantized() -> Program:
    """A linear layer as the quantized graph has it: pairs on the activations, an int8 weight."""
    program = Program.capture(torch.nn.Sequential(torch.nn.Linear(4, 3)), (torch.zeros(2, 4),))
    module = program.graph_module()
    (linear,) = (node for node in module.graph.nodes if node.target is torch.ops.aten.linear.default)
    weight = graph.constant(module, linear.args[1])
    assert weight is not None
    scale = weight.abs().amax(1) / 127
    with module.graph.inserting_before(linear):
        graph.set_constant(module, "q.weight", torch.round(weight / scale[:, None]).to(torch.int8).detach())
        graph.set_constant(module, "q.weight_scale", scale.detach())
        graph.set_constant(module, "q.weight_zero_point", torch.zeros(3, dtype=torch.int64))
        parts = [module.graph.get_attr(f"q.weight{end}") for end in ("", "_scale", "_zero_point")]
        restored = module.graph.call_function(graph.DEQUANTIZE_CHANNELS, (*parts, 0, -127, 127, torch.int8))
        pair = (0.05, 3, -128, 127, torch.int8)
        small = module.graph.call_function(graph.QUANTIZE, (linear.args[0], *pair))
        linear.replace_input_with(
            linear.args[0], module.graph.call_function(graph.DEQUANTIZE, (small, *pair))
        )
        linear.replace_input_with(linear.args[1], restored)
    return program.replace(module)


def test_quantized_graphs(tmp_path: Path) -> None:
    program = quantized()
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    program.save(tmp_path / "q.pt2")
    loaded = Program.load(tmp_path / "q.pt2")
    assert (program.precision, loaded.precision) == ("int8", "int8")
    np.testing.assert_array_equal(loaded.run(x)[0], program.run(x)[0])
    assert loaded.exported.state_dict["q.weight"].dtype == torch.int8


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    program = quantized()
    program.save(tmp_path / "a.pt2")
    program.save(tmp_path / "b.pt2")
    Program.load(tmp_path / "a.pt2").save(tmp_path / "c.pt2")
    first = (tmp_path / "a.pt2").read_bytes()
    assert first == (tmp_path / "b.pt2").read_bytes() == (tmp_path / "c.pt2").read_bytes()


def test_no_pickle_and_no_sample_inputs_inside(tmp_path: Path) -> None:
    quantized().save(tmp_path / "a.pt2")
    with zipfile.ZipFile(tmp_path / "a.pt2") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents["archive/data/sample_inputs/model.pt"] == b""
    assert not any(content.startswith((b"\x80\x02", b"PK")) for content in contents.values())


def test_layer_names_and_lines_survive(tmp_path: Path) -> None:
    program = quantized()
    program.save(tmp_path / "a.pt2")
    loaded = Program.load(tmp_path / "a.pt2")

    def described(one: Program) -> list[tuple[str, str]]:
        return [
            (graph.layer_name(node), graph.source_line(node)) for node in graph.operators(one.graph_module())
        ]

    assert described(loaded) == described(program)
    assert any(line for _, line in described(loaded))


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    layer = torch.nn.Linear(4, 4)
    Program.capture(torch.nn.Sequential(layer, torch.nn.ReLU(), layer), (torch.zeros(2, 4),)).save(
        tmp_path / "a.pt2"
    )
    x = np.ones((3, 4), np.float32)
    with torch.no_grad():
        expected = layer(layer(torch.from_numpy(x)).relu()).numpy()
    np.testing.assert_allclose(Program.load(tmp_path / "a.pt2").run(x)[0], expected, rtol=1e-6)


@torch.library.custom_op("edgepress_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Custom(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return twice(x)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    program = Program.capture(Custom(), (torch.zeros(2, 4),))
    with pytest.raises(UnsupportedModel, match="edgepress_tests.twice"):
        program.save(tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


class Applied(torch.nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any], inner: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.inner = function, inner or torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.inner(x))


PICTURE, SEQUENCE = (2, 8, 8, 8), (2, 5, 16)
VARIED: dict[str, tuple[torch.nn.Module, tuple[int, ...]]] = {
    "lstm": (Applied(lambda out: out[0], torch.nn.LSTM(16, 8, batch_first=True)), SEQUENCE),
    "transformer": (torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), SEQUENCE),
    "group norm": (torch.nn.GroupNorm(4, 8), PICTURE),
    "bilinear": (torch.nn.Upsample(scale_factor=2, mode="bilinear"), PICTURE),
    "reflection": (torch.nn.ReflectionPad2d(1), PICTURE),
    "einsum": (Applied(lambda x: torch.einsum("bij,bkj->bik", x, x)), SEQUENCE),
    "indexing": (Applied(lambda x: x[:, [0, 2], :-1]), SEQUENCE),
    "weight norm": (torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 4)), SEQUENCE),
    "constant": (Applied(lambda x: x + torch.arange(16)), SEQUENCE),
    "shape arithmetic": (Applied(lambda x: x.reshape(x.shape[0] * 5, 16).reshape(-1, 5, 16)), SEQUENCE),
    "dictionary": (Applied(lambda x: {"a": x + 1, "b": [x, x * 2]}), SEQUENCE),
}


@pytest.mark.parametrize("name", VARIED)
def test_networks_of_many_kinds(name: str, tmp_path: Path) -> None:
    """What PyTorch exports is saved and comes back; the checks refuse no usual network."""
    network, shape = VARIED[name]
    program = Program.capture(network, (torch.zeros(shape),))
    program.save(tmp_path / "a.pt2")
    x = np.random.default_rng(0).standard_normal((3, *shape[1:])).astype(np.float32)
    for found, expected in zip(Program.load(tmp_path / "a.pt2").run(x), program.run(x), strict=True):
        np.testing.assert_array_equal(found, expected)

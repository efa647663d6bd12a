"""ncnn files: the same outputs on ncnn, the user's names inside, and what ncnn lacks said before anything is written."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, graph, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_aware import QuantizeAware
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._ncnn.int8 import FLOAT_TAG
from edgepress.convert._ncnn.layers import weighted_pairs
from edgepress.convert._ncnn.pnnx import Converted
from edgepress.errors import BadInput, BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.rules import Rule, Rules

pytest.importorskip("ncnn", reason="needs the ncnn extra")
pnnx = pytest.importorskip("pnnx", reason="needs the ncnn extra")
pytestmark = pytest.mark.ncnn

functional = nn.functional


class Around(nn.Module):
    """A convolution and whatever comes behind it."""

    def __init__(self, behind: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.behind = behind

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.behind(self.stem(pictures))


def capture(module: nn.Module) -> Program:
    return Program.capture(module, (torch.zeros(2, 3, 12, 12),))


def shuffled(x: torch.Tensor) -> torch.Tensor:
    return x.view(-1, 2, 4, 12, 12).transpose(1, 2).reshape(-1, 8, 12, 12)


OPERATORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hardswish": lambda x: functional.hardswish(x) * torch.sigmoid(x),
    "gelu": lambda x: functional.gelu(x) + functional.silu(x),
    "softmax": lambda x: functional.softmax(x, 1),
    "shuffle": shuffled,
    "halves": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "slice": lambda x: x[:, 2:5, 1:],
    "squeeze_excite": lambda x: x * torch.sigmoid(functional.adaptive_avg_pool2d(x, 1)),
    "upsampled": lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
    "padded": lambda x: functional.max_pool2d(functional.pad(x, (1, 0, 2, 1)), 3, 2, ceil_mode=True),
    "overhanging": lambda x: functional.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True),
    "flattened": lambda x: x.flatten(1),
    "mean": lambda x: x.mean([2, 3]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_give_the_programs_outputs(name: str, tmp_path: Path) -> None:
    program = capture(Around(OPERATORS[name]))
    inputs = program.signature.example(2)
    with runtime.open(convert.to(program, "ncnn", tmp_path / "model.ncnn")) as runner:
        (got,) = runner.run(*inputs)
    # Float runtimes differ by the order of their sums only; ncnn's exponentials are a polynomial of 1e-5.
    np.testing.assert_allclose(got, program.run(*inputs)[0], rtol=1e-4, atol=2e-5)


class TwoByTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.numbers = nn.Conv2d(3, 4, 1), nn.Linear(5, 4)

    def forward(self, pictures: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = self.pictures(pictures)
        return seen.mean([2, 3]) - self.numbers(numbers), seen


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    program = Program.capture(TwoByTwo(), (torch.zeros(2, 3, 6, 6), torch.zeros(2, 5)))
    inputs = program.signature.example(3)
    with runtime.open(convert.to(program, "ncnn", tmp_path / "model.ncnn")) as runner:
        outputs = runner.run(*inputs)
    for got, want in zip(outputs, program.run(*inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def graph_of(path: Path) -> str:
    with zipfile.ZipFile(path) as joined:
        return joined.read("model.param").decode()


def test_layers_have_the_users_names(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Separable)
    convert.to(program, "ncnn", tmp_path / "model.ncnn")
    names = [line.split()[1] for line in graph_of(tmp_path / "model.ncnn").splitlines()[2:]]
    assert {"expand.0", "depthwise.0", "project.0", "classifier.1"} <= set(names)


def test_layers_that_pnnx_has_put_in_another_order_are_known_by_their_weights() -> None:
    """As it does with branches that do not wait for each other: in NASNet, no layer was int8 for that."""
    torch.manual_seed(0)
    module = capture(
        nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 3, 1, bias=False))
    ).graph_module()
    first, second = (parameter.detach().numpy() for parameter in module.parameters())
    text = "\n".join([
        "7767517", "3 3", "Input in0 0 1 in0",
        "Convolution conv_0 1 1 in0 1 0=3 6=24", "Convolution conv_1 1 1 1 out0 0=8 6=24",
    ])  # fmt: skip
    made = Converted(text, FLOAT_TAG + second.tobytes() + FLOAT_TAG + first.tobytes())
    pairs = {layer.name: graph.layer_name(node) for layer, node in weighted_pairs(made, module)}
    assert pairs == {"conv_0": "1", "conv_1": "0"}


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    first, second = (convert.to(program, "ncnn", tmp_path / name) for name in ("a.ncnn", "b.ncnn"))
    assert first.manifest.sha256 == second.manifest.sha256
    assert first.manifest.signature.inputs[0].shape[0] == 1


def test_half_weights_take_half_the_space(tmp_path: Path) -> None:
    program = tiny_networks.capture(tiny_networks.Concatenated)
    whole = convert.to(program, "ncnn", tmp_path / "whole.ncnn")
    half = convert.to(program, "ncnn", tmp_path / "half.ncnn", {"weights": "float16"})
    assert half.manifest.precision == "float16"
    # The biases and the graph stay.
    assert half.manifest.size_bytes < 0.6 * whole.manifest.size_bytes
    inputs = program.signature.example(4)
    with runtime.open(half) as runner:
        comparison = runtime.compare(program.run, runner.run, [inputs])
    assert comparison.sqnr_db > runtime.limit_db("float32", "float16")
    assert comparison.max_error > 0, "float16 is not float32"


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (lambda x: torch.sort(x, 1)[0], "sort"),
        (lambda x: x[:, :, ::2], "slice"),
        (lambda x: torch.fft.rfft(x).abs(), "rfft"),
        (lambda x: torch.where(x > 0, x, x * 2), "gt"),
    ],
)
def test_what_ncnn_lacks_is_said_before(behind: Callable[[torch.Tensor], torch.Tensor], said: str) -> None:
    with pytest.raises(UnsupportedModel, match="ncnn has no layer") as raised:
        convert.check(capture(nn.Sequential(Around(behind))), "ncnn")
    assert said in raised.value.what
    assert raised.value.where.startswith("layer 0"), "the module that calls it"


def test_integer_inputs_are_refused() -> None:
    program = Program.capture(nn.Embedding(4, 3), (torch.zeros(2, 5, dtype=torch.int64),))
    with pytest.raises(UnsupportedModel, match="float32"):
        convert.check(program, "ncnn")


@pytest.mark.parametrize("script", ["echo a reason >&2; exit 3", "kill -SEGV $$", "exit 0"])
def test_a_crash_of_pnnx_is_told_and_leaves_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "pnnx"
    crashing.write_text(f"#!/bin/sh\n{script}\n")
    crashing.chmod(stat.S_IRWXU)
    monkeypatch.setattr(pnnx, "EXEC_PATH", str(crashing))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(UnsupportedModel, match="pnnx cannot convert") as raised:
        convert.to(tiny_networks.capture(tiny_networks.Residual), "ncnn", tmp_path / "out" / "model.ncnn")
    assert {"echo": "a reason (exit code 3)", "kill": "signal 11", "exit": "exit code 0"}[
        script.split()[0]
    ] in raised.value.what
    assert not list(temporary.iterdir())
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_other_archives_are_refused(tmp_path: Path) -> None:
    artifact = convert.to(tiny_networks.capture(tiny_networks.Residual), "ncnn", tmp_path / "model.ncnn")
    for name, kind in (("another", zipfile.ZIP_STORED), ("model.param", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(artifact.path, "w", kind) as joined:
            joined.writestr(name, "7767517")
            joined.writestr("model.bin", b"")
        changed = artifact.describe(artifact.path, artifact.manifest)
        with pytest.raises(BadInput, match="no .ncnn file"), runtime.open(changed):
            pass


def quantized(module: type[nn.Module], rules: tuple[Rule, ...] = ()) -> Program:
    data = tiny_networks.Patches(64)
    recipe = Recipe((QuantizeStatic(samples=64, headroom="none"),), Rules(rules))
    return compress.apply(tiny_networks.capture(module), recipe, data)


def int8_layers(path: Path) -> set[str]:
    return {line.split()[1] for line in graph_of(path).splitlines() if " 8=1 " in line}


@pytest.mark.parametrize("network", tiny_networks.NETWORKS)
def test_a_quantized_network_is_int8_in_ncnn(network: type[nn.Module], tmp_path: Path) -> None:
    program = quantized(network)
    artifact = convert.to(program, "ncnn", tmp_path / "model.ncnn")
    inputs = next(tiny_networks.Patches(64).batches("evaluate", None)).inputs
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [inputs])
    assert comparison.sqnr_db > runtime.limit_db("int8", "int8")
    assert artifact.manifest.precision == "int8"
    weighted = [node for node in graph.operators(program.graph_module()) if node.target in graph.WEIGHTED]
    assert int8_layers(artifact.path) == {graph.layer_name(node) for node in weighted}
    # A byte in place of four; the biases, the scales and the graph stay.
    float_file = convert.to(tiny_networks.capture(network), "ncnn", tmp_path / "float.ncnn")
    assert artifact.manifest.size_bytes < 0.55 * float_file.manifest.size_bytes


def test_layers_that_share_weights_are_told_from_each_other(tmp_path: Path) -> None:
    """All that read one were taken for the first, and the others' integers were stored for layers behind: NaN."""
    program = quantized(tiny_networks.Levels)
    inputs = program.signature.example(8)
    artifact = convert.to(program, "ncnn", tmp_path / "model.ncnn")
    with runtime.open(artifact) as runner:
        comparison = runtime.compare(program.run, runner.run, [inputs])
    assert artifact.manifest.quality["int8_layers"] == 5
    assert comparison.sqnr_db > runtime.limit_db("int8", "int8")


def test_a_layer_left_in_float_stays_in_float(tmp_path: Path) -> None:
    program = quantized(tiny_networks.Residual, rules=(Rule(layer="second", skip=True),))
    convert.to(program, "ncnn", tmp_path / "model.ncnn")
    assert int8_layers(tmp_path / "model.ncnn") == {"stem", "first", "head"}
    quality = Artifact.open(tmp_path / "model.ncnn").manifest.quality
    assert (quality["int8_layers"], quality["float_layers"]) == (3, 1)


def test_layers_of_large_integers_do_not_overflow(tmp_path: Path) -> None:
    """Weights and inputs at their largest, where Winograd's int8 kernel for 3 x 3 would overflow."""

    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 256, 1)
            self.sum = nn.Conv2d(256, 256, 3, padding=1)
            nn.init.constant_(self.wide.weight, 0.5)
            nn.init.constant_(self.sum.weight, 1.0)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.sum(torch.relu(self.wide(pictures)))

    program = quantized(Large)
    inputs = (np.full((1, 3, 16, 16), 10, np.float32),)
    with runtime.open(convert.to(program, "ncnn", tmp_path / "model.ncnn")) as runner:
        (got,) = runner.run(*inputs)
    want = program.run(*inputs)[0]
    # Both clip what they read at its calibrated range, and the program what it gives, too; the rest is rounding.
    np.testing.assert_allclose(np.minimum(got, want.max()), want, rtol=0.03)


@pytest.mark.parametrize("bits", [2, 4])
def test_activations_of_few_bits_run_as_they_were_trained(bits: int, tmp_path: Path) -> None:
    """They end where int8 ends, and the addition reads them rounded, too."""
    data = tiny_networks.Patches(64)
    stage = QuantizeAware(epochs=1, samples=64, activation_bits=bits, low_ends=True, teacher="none")
    trained = compress.apply(tiny_networks.capture(tiny_networks.Residual), Recipe((stage,)), data)
    with runtime.open(convert.to(trained, "ncnn", tmp_path / "model.ncnn")) as runner:
        inputs = next(data.batches("evaluate", None)).inputs
        comparison = runtime.compare(trained.run, runner.run, [inputs])
    # 47 dB; 29 where the addition reads what is not rounded, and none at all where nothing clips.
    assert comparison.sqnr_db > 40


class WithoutKernels(nn.Module):
    """Convolutions that ncnn has in float alone: in groups, and of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.groups = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.rows = nn.Conv1d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.groups(torch.relu(self.stem(pictures))))
        return self.head(torch.relu(self.rows(torch.relu(found.flatten(2)))).mean(2))


def test_few_bits_are_rounded_in_front_of_layers_without_a_kernel(tmp_path: Path) -> None:
    data = tiny_networks.Patches(64)
    stage = QuantizeAware(epochs=1, samples=64, activation_bits=1, low_ends=True, teacher="none")
    trained = compress.apply(tiny_networks.capture(WithoutKernels), Recipe((stage,)), data)
    convert.to(trained, "ncnn", tmp_path / "model.ncnn")
    assert int8_layers(tmp_path / "model.ncnn") == {"stem", "head"}
    with runtime.open(Artifact.open(tmp_path / "model.ncnn")) as runner:
        inputs = next(data.batches("evaluate", None)).inputs
        comparison = runtime.compare(trained.run, runner.run, [inputs])
    # 54 dB; 8 where these layers read what is not rounded.
    assert comparison.sqnr_db > 40


class Positive(nn.Module):
    """Behind its ReLU all 255 integers are positive; what reads them has a border, or no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.wide = nn.Conv2d(8, 8, (3, 5), padding=(1, 2), bias=False)
        self.narrow = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4, bias=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.stem(pictures))
        return self.head(torch.relu(self.wide(found) + self.narrow(found)).mean([2, 3]))


def test_an_input_that_is_not_symmetric_has_all_its_integers(tmp_path: Path) -> None:
    program = quantized(Positive)
    with runtime.open(convert.to(program, "ncnn", tmp_path / "model.ncnn")) as runner:
        inputs = next(tiny_networks.Patches(64).batches("evaluate", None)).inputs
        comparison = runtime.compare(program.run, runner.run, [inputs])
    # 48 dB; 44 where the ranges are widened to be symmetric.
    assert comparison.sqnr_db > 46
    layers = [line.split() for line in graph_of(tmp_path / "model.ncnn").splitlines()[2:]]
    kinds = [kind for kind, *_ in layers]
    assert (kinds.count("Padding"), kinds.count("BinaryOp")) == (1, 1 + 2), (
        "one for the two readers of the stem"
    )
    assert [word for words in layers if words[1] == "wide" for word in words if word[:3] in ("4=0", "5=1")]


def test_half_weights_are_for_float_networks() -> None:
    with pytest.raises(BadOption, match="float16"):
        convert.check(quantized(tiny_networks.Separable), "ncnn", {"weights": "float16"})

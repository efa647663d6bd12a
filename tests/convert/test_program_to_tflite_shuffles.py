"""Channel shuffles fold into the weights behind them: no transpose, no 5-D tensor, and the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tflite_files import IMAGE, assert_same, converted, network, operations, quantized, ranks
from torch import Tensor, nn

from edgepress import convert, runtime
from edgepress.convert._tflite import convolution, lowered, pooling
from edgepress.models import shufflenet
from edgepress.program import Program

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")


def small_shufflenet() -> Program:
    torch.manual_seed(0)
    module = shufflenet.shufflenet_v2(width=0.5, classes=10)
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, 3, 64, 64))
    return Program.capture(module, (torch.randn(2, 3, 64, 64),))


def plainly(
    program: Program, path: Path, monkeypatch: pytest.MonkeyPatch, **options: str
) -> list[np.ndarray]:
    """The outputs of the file without the rewrites of channels, pixels and convolutions."""
    with monkeypatch.context() as patched:
        patched.setattr(lowered, "without_shuffles", lambda model: model)
        patched.setattr(lowered, "with_split_convolutions", lambda model: model)
        patched.setattr(convolution, "in_wide_pixels", lambda draft, *given: given)
        patched.setattr(pooling, "extended", lambda *given: None)
        artifact = convert.to(program, "tflite", path, options)
    assert "TRANSPOSE" in operations(artifact)
    with runtime.open(artifact) as runner:
        return list(runner.run(*program.signature.example(4, seed=7)))


def test_shufflenet_v2_has_no_transpose_and_the_same_outputs(tmp_path: Path) -> None:
    program = small_shufflenet()
    artifact = convert.to(program, "tflite", tmp_path / "folded.tflite")
    assert_same(program, artifact)
    assert not {"TRANSPOSE", "GATHER"} & set(operations(artifact))
    assert max(ranks(artifact)) <= 4


def test_in_int8_every_output_is_the_same_integer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = quantized(small_shufflenet(), samples=4)
    expected = plainly(program, tmp_path / "plain.tflite", monkeypatch, io="int8")
    artifact = convert.to(program, "tflite", tmp_path / "folded.tflite", {"io": "int8"})
    assert not {"TRANSPOSE", "GATHER", "QUANTIZE"} & set(operations(artifact))
    with runtime.open(artifact) as runner:
        found = runner.run(*program.signature.example(4, seed=7))
    assert all((have == want).all() for have, want in zip(found, expected, strict=True))


class FirstUnit(nn.Module):
    """ShuffleNet v1's: grouped, shuffled, depthwise, grouped, and a residual that sees the channels in their order."""

    def __init__(self, channels: int, middle: int, groups: int) -> None:
        super().__init__()
        self.groups, self.middle = groups, middle
        self.compress = nn.Conv2d(channels, middle, 1, groups=groups)
        self.depthwise = nn.Conv2d(middle, middle, 3, padding=1, groups=middle)
        self.expand = nn.Conv2d(middle, channels, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.compress(x))
        y = y.view(x.size(0), self.groups, self.middle // self.groups, *y.shape[2:])
        y = y.transpose(1, 2).reshape(x.size(0), self.middle, *y.shape[3:])
        return F.relu(self.expand(self.depthwise(y)) + x)


@pytest.mark.parametrize(("groups", "middle"), [(2, 8), (3, 15), (8, 32)])
def test_shufflenet_v1_units(
    groups: int, middle: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 channels in 3 groups: a group of the second convolution takes 2, 2 and 1 of the first one's."""
    module = network(
        lambda x, *units: units[1](units[0](x)), *(FirstUnit(24, middle, groups) for _ in range(2))
    )
    program, artifact = converted(module, (24, 5, 7), tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)
    int8 = quantized(program, samples=4)
    expected = plainly(int8, tmp_path / "plain.tflite", monkeypatch)
    with runtime.open(convert.to(int8, "tflite", tmp_path / "int8.tflite")) as runner:
        found = runner.run(*int8.signature.example(4, seed=7))
    assert (found[0] == expected[0]).all()


def test_a_shuffle_goes_through_pooling_to_the_classifier(tmp_path: Path) -> None:
    def classify(x: Tensor, convolution: nn.Module, head: nn.Module) -> Tensor:
        return head(F.max_pool2d(F.channel_shuffle(convolution(x), 3), 3, 2, 1).mean((2, 3)))

    program, artifact = converted(network(classify, nn.Conv2d(4, 12, 1), nn.Linear(12, 5)), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)


def test_a_shuffle_whose_order_is_seen_stays(tmp_path: Path) -> None:
    """By a sum, by an output, and by a depthwise convolution that one of them reads."""

    def seen(x: Tensor, first: nn.Module, depthwise: nn.Module) -> tuple[Tensor, Tensor]:
        shuffled = F.channel_shuffle(first(x), 2)
        return depthwise(shuffled), shuffled + first(x)

    layers = nn.Conv2d(4, 256, 1), nn.Conv2d(256, 256, 3, groups=256)
    program, artifact = converted(network(seen, *layers), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact).count("TRANSPOSE") == 1


def test_a_convolution_that_is_only_read_in_halves_is_two(tmp_path: Path) -> None:
    def gated(x: Tensor, convolution: nn.Module) -> Tensor:
        value, gate = convolution(x).chunk(2, 1)
        return value * torch.sigmoid(gate)

    program, artifact = converted(network(gated, nn.Conv2d(4, 48, 3)), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact) == ["CONV_2D", "CONV_2D", "LOGISTIC", "MUL"]


@pytest.mark.parametrize("parts", [[8, 24, 16], [20, 28], [8, 8, 8, 24]])
def test_parts_of_a_convolution_in_any_place(parts: list[int], tmp_path: Path) -> None:
    def pieces(x: Tensor, convolution: nn.Module) -> tuple[Tensor, ...]:
        return tuple(F.relu(part) + number for number, part in enumerate(convolution(x).split(parts, 1)))

    program, artifact = converted(network(pieces, nn.Conv2d(4, 48, 1)), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact).count("SLICE") == (2 if parts == [20, 28] else 0)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (5, 4, 2), ((3, 7), (2, 4), (1, 1))]
)
def test_pairs_of_pixels_give_the_same_integers(
    kernel: int, stride: int, padding: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = network(lambda x, layer: F.relu(layer(x)), nn.Conv2d(2, 8, kernel, stride, padding))
    program = quantized(Program.capture(module, (torch.randn(2, 2, 12, 24),)), samples=4)
    wide = convert.to(program, "tflite", tmp_path / "wide.tflite", {"io": "int8"})
    monkeypatch.setattr(convolution, "in_wide_pixels", lambda draft, *given: given)
    narrow = convert.to(program, "tflite", tmp_path / "narrow.tflite", {"io": "int8"})
    assert "RESHAPE" in operations(wide)
    assert "RESHAPE" not in operations(narrow)
    inputs = program.signature.example(3, seed=5)
    with runtime.open(wide) as first, runtime.open(narrow) as second:
        assert (first.run(*inputs)[0] == second.run(*inputs)[0]).all()

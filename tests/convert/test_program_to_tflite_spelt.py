"""Operators that the TFLite writer spells out in others, ranks or looks up by, against PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tflite_files import IMAGE, assert_same, converted, network, operations, quantized, ranks, steps_apart
from torch import Tensor, nn

from edgepress import convert
from edgepress.program import Program

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")

SPELT: dict[str, Callable[[Tensor], object]] = {
    "celu": lambda x: F.celu(x, 0.5), "softplus": lambda x: F.softplus(x, 2), "threshold": lambda x: F.threshold(x, 0.1, 7),
    "hardshrink": lambda x: F.hardshrink(x, 0.3), "logsumexp": lambda x: x.logsumexp((1, 2)),
    "max.dim": lambda x: x.max(1, keepdim=True)[0] * x, "min.dim": lambda x: x.min(2)[0],
    "angles": lambda x: torch.atan(x) + torch.asin(x / 9) - torch.acos(x / 9) + torch.tan(x / 9),
    "norms": lambda x: torch.stack([x.norm(p, 1) for p in (1, 2, 3)] + [x.abs().amax(1)], 1),
    "rest": lambda x: torch.fmod(x, 0.7) + torch.remainder(x, 0.3), "parts": lambda x: x.trunc() + x.ceil() + (x / 3).floor(),
    "quotient": lambda x: torch.div(x, 0.3, rounding_mode="trunc"), "triangle": lambda x: x.tril(1) - x.triu(-2),
    "replicate": lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"), "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "einsum": lambda x: torch.einsum("nchw,ncgw->nhg", x, 2 * x), "variance": lambda x: x.var((2, 3)),
    "causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), "glu": lambda x: F.glu(x, 1),
    "dilated_maximum": lambda x: F.max_pool2d(x, (2, 3), (1, 2), 1, (3, 1), ceil_mode=True),
    "line": lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1), "line_dilated": lambda x: F.max_pool1d(x.flatten(2), 3, dilation=2),
    "logs": lambda x: (x * x).log1p() + (x / 4).expm1().exp2() + F.logsigmoid(x) + (x * x + 1).log2().log1p() + x.sinh() - x.cosh(),
    "deviation": lambda x: x.std(1), "bicubic": lambda x: F.interpolate(x, (13, 7), mode="bicubic"), "subtract": lambda x: torch.rsub(x, 2.0, alpha=3),
    "linear": lambda x: F.interpolate(x.flatten(2), scale_factor=1.5, mode="linear"), "nearest": lambda x: F.interpolate(x.flatten(2), 50),
    "roll": lambda x: x.roll((1, 2), (2, 3)), "movedim": lambda x: x.movedim(1, -1).mean(1),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELT)
def test_what_is_spelt_out(name: str, tmp_path: Path) -> None:
    # XNNPACK approximates exp, log, sin and the like by polynomials good to about 1e-5.
    assert_same(*converted(network(SPELT[name]), IMAGE, tmp_path), relative=2e-5)


RANKED: dict[str, Callable[[Tensor], object]] = {
    "largest": lambda x: x.argmax(1), "smallest_kept": lambda x: x.argmin(2, keepdim=True), "of_all": lambda x: x.flatten(1).argmax(1),
    "top": lambda x: x.topk(3, 2), "bottom": lambda x: x.topk(2, 1, largest=False), "sorted": lambda x: x.sort(1),
    "descending": lambda x: x.sort(-1, descending=True)[0], "running": lambda x: x.cumsum(2), "product": lambda x: x.prod(3),
    "flip": lambda x: x.flip(1, 3), "repeat": lambda x: x.repeat(1, 2, 1, 3), "lookup": lambda x: x[:, torch.tensor([[0, 3], [2, 3]])],
    "gather": lambda x: x.gather(2, x.argsort(2)[:, :3, :4]), "any": lambda x: (x > 2).any(1).float(),
    "all": lambda x: (x > -1).all(3).float(), "one_hot": lambda x: (x.argmax(1)[:, None] == torch.arange(4)[:, None, None]).float(),
    "places": lambda x: (x.argmax(1) * 2 + 1) % 3, "counted": lambda x: (x > 0).sum((2, 3)), "xor": lambda x: ((x > 0) ^ (x < 1)).float(),
    "whole_chosen": lambda x: torch.where(x > 0, x.argmax(1, True), -abs(x.argmin(1, True))), "as_whole": lambda x: (3 * x).to(torch.int64),
}  # fmt: skip


@pytest.mark.parametrize("name", RANKED)
def test_ranks_places_and_whole_numbers(name: str, tmp_path: Path) -> None:
    assert_same(*converted(network(RANKED[name]), IMAGE, tmp_path))


VOLUMES: dict[str, nn.Module] = {
    "convolution": nn.Sequential(nn.Conv3d(4, 6, 3, (2, 1, 2), (1, 1, 0), bias=False), nn.BatchNorm3d(6), nn.ReLU()),
    "dilated": nn.Conv3d(4, 4, (2, 3, 1), dilation=(2, 1, 1), groups=2), "transposed": nn.ConvTranspose3d(4, 5, 3, 2, 1, 1),
    "maximum": nn.MaxPool3d(3, 2, 1), "average": nn.AvgPool3d((2, 3, 3), (1, 2, 2), (1, 1, 0), count_include_pad=False),
}  # fmt: skip


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes(name: str, tmp_path: Path) -> None:
    program, artifact = converted(network(lambda x, layer: layer(x), VOLUMES[name]), (4, 5, 6, 7), tmp_path)
    assert_same(program, artifact)
    assert not {"CONV_3D", "CONV_3D_TRANSPOSE"} & set(operations(artifact))


def test_only_the_last_piece_bears_the_layers_name() -> None:
    """What compares layers takes a tensor of that name for what the layer gave."""
    from edgepress.convert._tflite.lowered import lowered
    from edgepress.convert._tflite.model import Model

    layers = nn.Sequential(
        OrderedDict(up=nn.ConvTranspose3d(4, 5, 3, 2), pool=nn.AvgPool3d(2), top=nn.ReLU())
    )
    model = lowered(Program.capture(layers, (torch.zeros(2, 4, 3, 4, 5),)), 1, "float32")
    assert isinstance(model, Model)
    made = [operation.outputs[0].name for operation in model.operations]
    assert [name for name in made if "/" not in name] == ["up", "pool", "top"]


def test_pictures_of_bytes_are_taken(tmp_path: Path) -> None:
    module = network(lambda x, layer: layer(x / 255), nn.Conv2d(3, 4, 3))
    program = Program.capture(module, (torch.zeros(2, 3, 8, 8, dtype=torch.uint8),))
    assert_same(program, convert.to(program, "tflite", tmp_path / "bytes.tflite"))


def test_int8_values_are_moved_as_they_are(tmp_path: Path) -> None:
    """Turned, repeated and padded in int8, between two convolutions."""

    def moves(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        made = F.pad(F.relu(first(x)).flip(3).repeat(1, 2, 1, 1), (1, 1, 1, 1), mode="replicate")
        result: Tensor = second(made)
        return result

    program, _ = converted(network(moves, nn.Conv2d(4, 6, 3), nn.Conv2d(12, 5, 3)), IMAGE, tmp_path)
    integers = quantized(program)
    artifact = convert.to(integers, "tflite", tmp_path / "int8.tflite")
    # Both round the same sums; a tie may fall to either side.
    assert np.percentile(steps_apart(integers, artifact), 99) <= 1
    assert artifact.manifest.quality["float_operations"] == 0
    assert max(ranks(artifact)) <= 4

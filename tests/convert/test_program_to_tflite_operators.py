"""Every operator the TFLite writer knows, in float32, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tflite_files import IMAGE, assert_same, converted, network, operations, ranks
from torch import Tensor, nn

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")

CONVOLUTIONS = {
    "valid": nn.Conv2d(4, 6, 3),
    "same": nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "stride": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "stride_large": nn.Conv2d(4, 6, 3, stride=3, padding=2),
    "oblong": nn.Conv2d(4, 6, (1, 5), stride=(2, 1), padding=(0, 2)),
    "even_kernel": nn.Conv2d(4, 6, 2, padding=1),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=2),
    "dilated_oblong": nn.Conv2d(4, 6, 3, dilation=(1, 3), padding=(0, 3)),
    "pointwise": nn.Conv2d(4, 6, 1, stride=2),
    "by_name_same": nn.Conv2d(4, 6, 4, padding="same"),
    "by_name_valid": nn.Conv2d(4, 6, 3, padding="valid", stride=2),
    "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "depthwise_stride": nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False),
    "depthwise_multiplied": nn.Conv2d(4, 12, 3, padding=1, groups=4),
    "depthwise_dilated": nn.Conv2d(4, 4, 3, dilation=2, padding=2, groups=4),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "grouped_stride": nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
    "transposed": nn.ConvTranspose2d(4, 6, 2, stride=2),
    "transposed_same": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    "transposed_cut": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, bias=False),
    "transposed_grouped": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2),
    "transposed_dilated": nn.ConvTranspose2d(4, 6, 3, stride=1, padding=2, dilation=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("normalized", [False, True], ids=["", "batch_norm"])
def test_convolutions(name: str, normalized: bool, tmp_path: Path) -> None:
    layer = CONVOLUTIONS[name]
    if normalized:
        module = network(
            lambda x, conv, norm: F.relu6(norm(conv(x))), layer, nn.BatchNorm2d(layer.out_channels)
        )
    else:
        module = network(lambda x, conv: conv(x), layer)
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert not {"MUL", "TRANSPOSE"} & set(operations(artifact))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "relu_": lambda x: F.relu(x.clone(), inplace=True), "relu6": F.relu6, "hardtanh": F.hardtanh,
    "hardtanh_other": lambda x: F.hardtanh(x, -0.3, 0.7), "clamp": lambda x: x.clamp(0, 6),
    "clamp_low": lambda x: x.clamp(min=0.25), "clamp_high": lambda x: torch.clamp(x, max=0.5), "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "sigmoid": torch.sigmoid, "silu": F.silu, "tanh": torch.tanh,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": F.elu, "gelu": F.gelu, "elu_alpha": lambda x: F.elu(x, 0.5),
    "selu": F.selu, "celu": F.celu, "softplus": F.softplus, "mish": F.mish, "erf": torch.erf,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "softmax": lambda x: F.softmax(x, 1),
    "softmax_last": lambda x: F.softmax(x, -1), "log_softmax": lambda x: F.log_softmax(x, dim=1),
    "exp": torch.exp, "abs": torch.abs, "square_root": lambda x: torch.sqrt(x.abs() + 1), "power": lambda x: x**2,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    program, artifact = converted(network(lambda x: ACTIVATIONS[name](3 * x)), (5, 4, 3), tmp_path)
    # XNNPACK approximates exp, tanh, erf and the like by polynomials good to about 1e-5.
    assert_same(program, artifact, relative=2e-5)


def test_prelu_has_a_slope_for_each_channel(tmp_path: Path) -> None:
    layer = nn.PReLU(4)
    layer.weight.data.uniform_(-1, 1)
    assert_same(*converted(network(lambda x, prelu: prelu(x), layer), IMAGE, tmp_path))


ARITHMETIC: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + 2 * x, "add_number": lambda x: x + 1.5, "add_alpha": lambda x: torch.add(x, x * x, alpha=0.5),
    "subtract": lambda x: x - x * x, "subtract_from": lambda x: 1 - x, "divide": lambda x: x / (x * x + 1),
    "divide_number": lambda x: x / 3, "multiply_channel": lambda x: x * x.mean((2, 3), keepdim=True),
    "add_row": lambda x: x + torch.arange(12.0), "add_channel": lambda x: x + torch.arange(4.0).view(4, 1, 1),
    "add_and_relu": lambda x: F.relu(x + 1), "maximum": lambda x: torch.maximum(x, x * x),
    "add_one_row": lambda x: x + x[:, :1, :1], "negate": lambda x: -x,
    "add_integers": lambda x: x + torch.arange(12), "subtract_alpha": lambda x: torch.rsub(x, x * x, alpha=3),
    "in_place": lambda x: (x * 2).add_(1).mul_(3),
}  # fmt: skip


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str, tmp_path: Path) -> None:
    assert_same(*converted(network(lambda x: ARITHMETIC[name](x)), IMAGE, tmp_path))


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: F.max_pool2d(x, 2), "max_same": lambda x: F.max_pool2d(x, 3, 1, 1),
    "max_padded": lambda x: F.max_pool2d(x - 5, 3, 2, 1), "max_ceil": lambda x: F.max_pool2d(x - 5, 3, 2, ceil_mode=True),
    "max_ceil_padded": lambda x: F.max_pool2d(x - 5, 4, 3, 1, ceil_mode=True), "avg": lambda x: F.avg_pool2d(x, 3, 2),
    "avg_padded": lambda x: F.avg_pool2d(x, 3, 2, 1), "avg_padded_uncounted": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_same": lambda x: F.avg_pool2d(x, 3, 1, 1), "avg_same_uncounted": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "avg_ceil": lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), "avg_ceil_padded": lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True),
    "avg_divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3), "global": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 4)), "mean": lambda x: x.mean((2, 3)), "mean_channel": lambda x: x.mean(1),
    "mean_kept": lambda x: x.mean((-1,), keepdim=True), "sum": lambda x: x.sum((2, 3)), "amax": lambda x: x.amax((2, 3)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0), "nearest_size": lambda x: F.interpolate(x, size=(13, 7)),
    "nearest_fraction": lambda x: F.interpolate(x, scale_factor=0.7), "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "bilinear_corners": lambda x: F.interpolate(x, size=(17, 23), mode="bilinear", align_corners=True),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_pooling(name: str, tmp_path: Path) -> None:
    assert_same(*converted(network(lambda x: POOLS[name](x)), IMAGE, tmp_path))


SHAPES: dict[str, Callable[[Tensor], object]] = {
    "flatten": lambda x: x.flatten(1), "flatten_area": lambda x: x.flatten(2), "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "view": lambda x: x.view(x.size(0), -1), "view_channels": lambda x: x.view(x.size(0), 2, 2, 9, 12).mean(1),
    "unsqueeze": lambda x: x.mean((2, 3)).unsqueeze(-1).unsqueeze(-1) + x, "squeeze": lambda x: x.mean(1, keepdim=True).squeeze(1),
    "permute": lambda x: x.permute(0, 2, 3, 1), "permute_back": lambda x: x.permute(0, 2, 3, 1).mean(-1),
    "transpose": lambda x: x.transpose(2, 3), "three_axes": lambda x: x.permute(0, 3, 1, 2).reshape(x.size(0), 12, 36),
    "five_axes": lambda x: x.view(-1, 2, 2, 3, 3, 12).permute(0, 4, 2, 5, 1, 3), "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "split": lambda x: x.split([1, 3], 1)[1], "several": lambda x: x.split(3, 2), "slice": lambda x: x[:, 1:3, ::2, -4:],
    "select": lambda x: x[:, 2], "select_last": lambda x: x[..., -1], "unbind": lambda x: sum(x.unbind(1)),
    "gather": lambda x: x.index_select(3, torch.arange(11, -1, -1)), "index_select": lambda x: x.index_select(1, torch.tensor([3, 0, 0, 2])), "index": lambda x: x[:, [1, 2]],
    "cat_rows": lambda x: torch.cat([x, x * 2], 2), "cat_constant": lambda x: torch.cat([x, torch.ones(1, 4, 9, 1).expand(x.size(0), -1, -1, -1)], 3),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2), "pixel_shuffle_stack": lambda x: F.pixel_shuffle(x.unsqueeze(1), 2), "pixel_shuffle_many": lambda x: F.pixel_shuffle(torch.cat([x, 2 * x], 1), 2),
    "attention_mask": lambda x: F.scaled_dot_product_attention(x, x * 2, x - 1, torch.ones(9, 9).tril() > 0), "attention_mask_of_values": lambda x: F.scaled_dot_product_attention(x, x * 2, x - 1, x[..., :9] > -1), "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x - 1), "zeros_like": lambda x: torch.cat([x, torch.zeros_like(x)], 2), "layer_norm": lambda x: F.layer_norm(x, (12,)), "layer_norm_axes": lambda x: F.layer_norm(x, (9, 12)), "zeros": lambda x: torch.cat([x, torch.zeros(x.size(0), 1, 9, 12)], 1), "pad": lambda x: F.pad(x, (1, 2, 0, 1)), "pad_channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 3)), "pad_value": lambda x: F.pad(x, (1, 1), value=-2.5),
    "reflect": lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), "shuffle": lambda x: F.channel_shuffle(x, 2),
    "shuffle_spelt": lambda x: x.view(x.size(0), 2, 2, 9, 12).transpose(1, 2).reshape(x.size(0), 4, 9, 12),
    "dropout": lambda x: F.dropout(x, training=False) + 0, "contiguous": lambda x: x.transpose(1, 2).contiguous().clone(),
    "matmul": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2), "matmul_images": lambda x: x @ x.transpose(-1, -2),
    "bmm": lambda x: torch.bmm(x[:, 0], x[:, 1].transpose(1, 2)), "expand": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 2),
    "same_twice": lambda x: (lambda y: (y, y))(x * 2), "input_itself": lambda x: (x, x + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, tmp_path: Path) -> None:
    assert_same(*converted(network(lambda x: SHAPES[name](x)), IMAGE, tmp_path))


def test_layer_norm_over_channels_last_needs_no_transpose(tmp_path: Path) -> None:
    """As ConvNeXt spells it."""
    norm = nn.LayerNorm(4)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    module = network(lambda x, norm: norm((x + 1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm)
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)


LINES = {
    "plain": nn.Conv1d(4, 6, 3), "padded": nn.Conv1d(4, 6, 5, stride=2, padding=2), "depthwise": nn.Conv1d(4, 4, 3, groups=4),
    "dilated": nn.Conv1d(4, 6, 3, dilation=2, padding=2), "same": nn.Conv1d(4, 6, 4, padding="same"),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_convolutions_along_one_axis(name: str, tmp_path: Path) -> None:
    layer = LINES[name]
    module = network(lambda x, first, norm: F.relu(norm(first(x))), layer, nn.BatchNorm1d(layer.out_channels))
    assert_same(*converted(module, (4, 15), tmp_path))


CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "where": lambda x: torch.where(x > 0.2, x, 2 * x - 1), "where_number": lambda x: torch.where(x[:, :1] <= 0, 0.5, x),
    "masked": lambda x: x.masked_fill(torch.ones(9, 12).tril() == 0, -3.0), "cast": lambda x: x + (x != 0).float(),
    "logic": lambda x: torch.where((x > 0) & ~(x > 1) | (x < -1), x, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str, tmp_path: Path) -> None:
    program, artifact = converted(network(CHOICES[name]), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)


NORMS = {
    "groups": nn.GroupNorm(2, 4), "one_group": nn.GroupNorm(1, 4, affine=False), "layers": nn.LayerNorm((4, 9, 12)),
    "instances": nn.InstanceNorm2d(4, affine=True), "instances_plain": nn.InstanceNorm2d(4),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms(name: str, tmp_path: Path) -> None:
    norm = NORMS[name]
    torch.manual_seed(2)
    for parameter in norm.parameters():
        parameter.data.uniform_(0.5, 2)
    program, artifact = converted(network(lambda x, norm: norm(x), norm), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)
    assert max(ranks(artifact)) <= 4


def test_features_scaled_to_unit_length_need_no_transpose(tmp_path: Path) -> None:
    """As SSD does with those of its first head."""
    module = network(lambda x, layer: F.normalize(layer(x), dim=1), nn.Conv2d(4, 6, 3))
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert "TRANSPOSE" not in operations(artifact)


MATRIX, VECTOR = torch.linspace(-1, 1, 84).view(12, 7) ** 3, torch.arange(7.0)
PRODUCTS: dict[str, Callable[[Tensor], Tensor]] = {
    "addmm": lambda x: torch.addmm(VECTOR, x.mean((1, 2)), MATRIX, alpha=0.5, beta=2),
    "mm": lambda x: torch.mm(x.mean((1, 2)), MATRIX), "matmul": lambda x: torch.matmul(x.mean(1), MATRIX),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_a_stored_matrix(name: str, tmp_path: Path) -> None:
    program, artifact = converted(network(PRODUCTS[name]), IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact) == ["MEAN", "FULLY_CONNECTED"]


SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "average_uneven": lambda x: F.adaptive_avg_pool2d(x, (4, 5)), "average_rows": lambda x: F.adaptive_avg_pool2d(x, (7, 12)),
    "average_larger": lambda x: F.adaptive_avg_pool2d(x, (13, 7)), "maximum": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
    "bilinear_fraction": lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear"),
    "bilinear_smaller": lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear"),
    "bilinear_from_one": lambda x: F.interpolate(x.mean((2, 3), True), size=(5, 6), mode="bilinear"),
    "crop": lambda x: F.pad(x, (-1, 2, 1, -3)), "crop_only": lambda x: F.pad(x, (-1, -2)),
    "depth": lambda x: F.pixel_unshuffle(x[:, :, 1:], 2), "stack": lambda x: torch.stack([x, 2 * x], 1).mean(2),
    "stack_last": lambda x: torch.stack([x.mean((2, 3)), x.amax((2, 3))], -1),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str, tmp_path: Path) -> None:
    assert_same(*converted(network(SIZES[name]), IMAGE, tmp_path))


@pytest.mark.parametrize("name", ["space", "depth"])
def test_blocks_of_pixels_need_no_transpose_beside_a_convolution(name: str, tmp_path: Path) -> None:
    def to_space(x: Tensor, convolution: nn.Module) -> Tensor:
        return F.pixel_shuffle(F.relu(convolution(x)), 2)

    def to_depth(x: Tensor, convolution: nn.Module) -> Tensor:
        return convolution(F.pixel_unshuffle(x, 2))

    module = (
        network(to_space, nn.Conv2d(4, 12, 3)) if name == "space" else network(to_depth, nn.Conv2d(16, 5, 1))
    )
    program, artifact = converted(module, (4, 8, 12), tmp_path)
    assert_same(program, artifact)
    wanted = ["CONV_2D", "DEPTH_TO_SPACE"] if name == "space" else ["SPACE_TO_DEPTH", "CONV_2D"]
    assert operations(artifact) == wanted


ALONG_A_LINE: dict[str, nn.Module] = {
    "transposed": nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), "maximum": nn.MaxPool1d(3, 2, 1),
    "average": nn.AvgPool1d(3), "adaptive": nn.AdaptiveAvgPool1d(4), "grouped": nn.ConvTranspose1d(4, 6, 3, groups=2),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONG_A_LINE)
def test_operators_along_a_line(name: str, tmp_path: Path) -> None:
    module = network(lambda x, layer: layer(x - 5), ALONG_A_LINE[name])
    assert_same(*converted(module, (4, 15), tmp_path))


def states_first(x: Tensor, layer: nn.Module) -> tuple[Tensor, ...]:
    """The output and the last states, with the batch in front as files have it."""
    output, states = layer(x.transpose(1, 2))
    states = states if isinstance(states, tuple) else (states,)
    return output, *(state.transpose(0, 1) for state in states)


def time_first(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x.permute(2, 0, 1))[0].transpose(0, 1)


RECURRENT = {
    "lstm": (states_first, nn.LSTM(4, 5, batch_first=True)), "lstm_layers": (time_first, nn.LSTM(4, 5, 2, bias=False)),
    "lstm_both": (states_first, nn.LSTM(4, 3, 2, batch_first=True, bidirectional=True)),
    "gru": (states_first, nn.GRU(4, 5, batch_first=True)),
    "gru_both": (time_first, nn.GRU(4, 3, 2, bidirectional=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_forget_between_calls(name: str, tmp_path: Path) -> None:
    """Two samples, one call each: a state left over would show in the second."""
    function, layer = RECURRENT[name]
    assert_same(*converted(network(function, layer), (4, 6), tmp_path))

"""The TFLite file as a whole: fusions, layout, names, options and refusals."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tflite_files import IMAGE, assert_same, converted, network, operations
from torch import Tensor, nn

from edgepress import convert
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program

pytestmark = pytest.mark.tflite
pytest.importorskip("ai_edge_litert")


def test_linear_layers_take_the_file_order_of_flattened_features(tmp_path: Path) -> None:
    def classify(x: Tensor, convolution: nn.Module, hidden: nn.Module, head: nn.Module) -> Tensor:
        features = F.dropout(F.relu(convolution(x)).flatten(1), training=False)
        return head(F.relu(hidden(features)))

    module = network(classify, nn.Conv2d(4, 5, 3), nn.Linear(5 * 7 * 10, 16), nn.Linear(16, 3))
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact) == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED"]


def test_features_that_others_read_too_are_transposed_once(tmp_path: Path) -> None:
    module = network(lambda x, head: head(x.flatten(1)) + x.flatten(1)[:, :3], nn.Linear(4 * 9 * 12, 3))
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact).count("TRANSPOSE") == 1


def test_linear_layers_over_tokens_need_no_transpose(tmp_path: Path) -> None:
    def embed(x: Tensor, patches: nn.Module, mix: nn.Module) -> Tensor:
        return mix(patches(x).flatten(2).transpose(1, 2))

    module = network(embed, nn.Conv2d(4, 8, 3, stride=3), nn.Linear(8, 6))
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact) == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_batch_norms_without_a_convolution_and_of_features(tmp_path: Path) -> None:
    def classify(x: Tensor, before: nn.Module, hidden: nn.Module, norm: nn.Module) -> Tensor:
        return norm(hidden(F.relu(before(x)).mean((2, 3))))

    module = network(classify, nn.BatchNorm2d(4), nn.Linear(4, 8), nn.BatchNorm1d(8))
    program, artifact = converted(module, IMAGE, tmp_path)
    assert_same(program, artifact)
    assert operations(artifact) == ["MUL", "ADD", "MEAN", "FULLY_CONNECTED"]


@pytest.mark.parametrize("features", [5, 9], ids=["other_size", "same_size"])
def test_a_batch_norm_over_tokens_is_not_folded_into_the_features(features: int, tmp_path: Path) -> None:
    """The linear layer's outputs are the last axis, the batch-norm's channels the middle one."""
    module = network(lambda x, mix, norm: norm(mix(x.mean(1))), nn.Linear(12, features), nn.BatchNorm1d(9))
    assert_same(*converted(module, IMAGE, tmp_path))


def test_a_weight_that_two_layers_share_is_normalized_once(tmp_path: Path) -> None:
    def twice(x: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
        return norm(convolution(x)) + convolution(x)

    assert_same(*converted(network(twice, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), IMAGE, tmp_path))


def test_padding_joins_the_convolution_where_tflite_calls_it_same(tmp_path: Path) -> None:
    """An even image at stride 2 is padded on the right and at the bottom only: that is SAME, 1 + 1 is not."""

    def pad_and_convolve(x: Tensor, convolution: nn.Module) -> Tensor:
        return convolution(F.pad(x, (0, 1, 0, 1)))

    same = converted(network(pad_and_convolve, nn.Conv2d(4, 6, 3, stride=2)), (4, 8, 12), tmp_path)
    assert_same(*same)
    assert operations(same[1]) == ["CONV_2D"]
    around = converted(
        network(lambda x, layer: layer(x), nn.Conv2d(4, 6, 3, stride=2, padding=1)), (4, 8, 12), tmp_path
    )
    assert_same(*around)
    assert operations(around[1]) == ["PAD", "CONV_2D"]


def test_a_maximum_after_relu_is_padded_with_zero(tmp_path: Path) -> None:
    """A PAD has kernels in XNNPACK, the PADV2 that a maximum of any numbers needs has none."""
    after = converted(network(lambda x: F.max_pool2d(F.relu(x + 0), 3, 2, 1)), (4, 8, 12), tmp_path)
    assert_same(*after)
    assert "PADV2" not in operations(after[1])


@pytest.mark.parametrize(
    ("size", "stride", "before"), [(3, 2, 1), (3, 1, 0), (5, 2, 2), ((3, 4), (1, 2), (0, 1))]
)
def test_a_maximum_behind_a_convolution_needs_no_padded_copy(
    size: int | tuple[int, int], stride: int | tuple[int, int], before: int | tuple[int, int], tmp_path: Path
) -> None:
    """SAME pads an image with one more row and column as PyTorch does; negative numbers are maxima, too."""
    stem = nn.Conv2d(2, 8, size, stride, before)
    program, artifact = converted(
        network(lambda x, layer: F.max_pool2d(layer(x), 3, 2, 1), stem), (2, 48, 64), tmp_path
    )
    assert_same(program, artifact)
    assert operations(artifact) == ["PAD", "CONV_2D", "MAX_POOL_2D", "SLICE"]


def test_what_is_read_elsewhere_is_not_computed_twice(tmp_path: Path) -> None:
    """By a second operation, and where so small an image would grow by much."""

    def twice(x: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor]:
        found = layer(x)
        return F.max_pool2d(found, 3, 2, 1), found * 2

    program, artifact = converted(network(twice, nn.Conv2d(2, 8, 3, 2, 1)), (2, 48, 64), tmp_path)
    assert_same(program, artifact)
    assert operations(artifact).count("CONV_2D") == 1
    program, artifact = converted(
        network(lambda x, layer: F.max_pool2d(layer(x), 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)),
        (8, 8, 8),
        tmp_path,
    )
    assert_same(program, artifact)
    assert "PADV2" in operations(artifact)


def test_a_write_in_place_reaches_later_readers(tmp_path: Path) -> None:
    def rectify(x: Tensor) -> Tensor:
        y = x * 2
        return F.relu(y, inplace=True) + y

    assert_same(*converted(network(rectify), IMAGE, tmp_path))


def test_a_write_that_another_view_would_see_is_refused(tmp_path: Path) -> None:
    def rectify_half(x: Tensor) -> Tensor:
        y = x * 2
        F.relu(y[:, :2], inplace=True)
        return y

    with pytest.raises(UnsupportedModel, match="writes into a tensor"):
        converted(network(rectify_half), IMAGE, tmp_path)


class Rare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def test_an_unknown_operator_is_refused_by_layer_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        converted(nn.Sequential(OrderedDict(rare=Rare())), IMAGE, tmp_path)
    message = str(caught.value)
    assert "bessel" in message
    assert "rare" in message
    assert "test_program_to_tflite.py" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: F.adaptive_max_pool2d(x, (4, 5)), "no even cells"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[1].float(), "where its maxima are"),
        (lambda x: x * x.to(torch.int8).float(), "no cast of float32 to int8"),
        (lambda x: F.max_pool2d(x[:, 0], 2), "4 axes, not of 3"),
        (lambda x: x + torch.rand(12), "lowering of rand"),
        (lambda x: F.conv2d(x, x[:1, :, :3, :3].mean(0, keepdim=True)), "computed from the input"),
    ],
    ids=[
        "uneven_maximum",
        "places",
        "cast",
        "unbatched",
        "random",
        "computed_weight",
    ],
)
def test_uses_that_tflite_lacks_are_refused(
    function: Callable[[Tensor], Tensor], what: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModel, match=what):
        converted(network(function), IMAGE, tmp_path)


class Positions(nn.Module):
    """Looks numbers up; with `shift`, computes with them first."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.table = nn.Embedding(8, 5)

    def forward(self, words: Tensor) -> Tensor:
        padded = torch.cat([words, torch.zeros_like(words)], 1)
        return self.table(padded + self.shift if self.shift else padded)


@pytest.mark.parametrize("shift", [0, 1])
def test_whole_numbers_are_moved_added_and_looked_up(shift: int, tmp_path: Path) -> None:
    program = Program.capture(Positions(shift), (torch.zeros(2, 6, dtype=torch.int64),))
    assert_same(program, convert.to(program, "tflite", tmp_path / "words.tflite"))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(5, 4)

    def forward(self, image: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.convolution(image) * self.head(features)[:, :, None, None]
        return mixed, mixed.mean((2, 3))


def test_several_inputs_and_outputs_keep_their_names(tmp_path: Path) -> None:
    program = Program.capture(Two(), (torch.randn(1, 3, 8, 8), torch.randn(1, 5)))
    artifact = convert.to(program, "tflite", tmp_path / "two.tflite")
    assert_same(program, artifact)
    assert [spec.name for spec in artifact.manifest.signature.inputs] == ["image", "features"]
    assert artifact.manifest.layout == "NHWC"


def test_tensors_bear_the_names_of_the_layers(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    program = Program.capture(Two(), (torch.randn(1, 3, 8, 8), torch.randn(1, 5)))
    artifact = convert.to(program, "tflite", tmp_path / "two.tflite")
    names = {detail["name"] for detail in Interpreter(str(artifact.path)).get_tensor_details()}
    assert {"image", "features", "convolution", "convolution.weight", "convolution.bias", "head"} <= names


def test_a_batch_of_three(tmp_path: Path) -> None:
    module = network(lambda x, head: head(F.relu(x).flatten(1)), nn.Linear(4 * 9 * 12, 3))
    program, artifact = converted(module, IMAGE, tmp_path, batch=3)
    assert artifact.manifest.signature.inputs[0].shape == (3, *IMAGE)
    assert_same(program, artifact, samples=7)


def test_half_weights_halve_the_file_and_round_like_float16(tmp_path: Path) -> None:
    def classify(x: Tensor, first: nn.Module, second: nn.Module, head: nn.Module) -> Tensor:
        return head(second(F.relu(first(x))).mean((2, 3)))

    module = network(classify, nn.Conv2d(4, 64, 3), nn.Conv2d(64, 64, 3), nn.Linear(64, 10))
    program, whole = converted(module, IMAGE, tmp_path)
    half = convert.to(program, "tflite", tmp_path / "half.tflite", {"weights": "float16"})
    assert half.manifest.precision == "float16"
    assert half.manifest.size_bytes < 0.55 * whole.manifest.size_bytes
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
    assert_same(Program.capture(module, (torch.randn(2, *IMAGE),)), half)


def test_what_was_lowered_to_check_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgepress.convert._tflite import lowered

    program, first = converted(network(lambda x, layer: layer(x), nn.Conv2d(4, 6, 3)), IMAGE, tmp_path)
    convert.check(program, "tflite")
    monkeypatch.setattr(lowered, "lowered", None)
    assert convert.to(program, "tflite", tmp_path / "second.tflite").manifest.sha256 == first.manifest.sha256


def test_int8_inputs_need_a_quantized_network(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="needs a quantized network"):
        converted(network(lambda x: F.relu(x)), IMAGE, tmp_path, io="int8")


def test_a_mistyped_option_is_a_bad_option(tmp_path: Path) -> None:
    with pytest.raises(BadOption):
        converted(network(lambda x: F.relu(x)), IMAGE, tmp_path, weights="float8")


def test_the_manifest_counts_what_phones_do_slowly(tmp_path: Path) -> None:
    module = network(lambda x, head: head(x.flatten(1)) + x.flatten(1)[:, :3], nn.Linear(4 * 9 * 12, 3))
    _, artifact = converted(module, IMAGE, tmp_path)
    quality = artifact.manifest.quality
    assert quality["operations"] == len(operations(artifact))
    assert quality["transposes"] == operations(artifact).count("TRANSPOSE") == 1
    assert (quality["tensors_over_4d"], quality["conversions"]) == (0, 0)
    deep = network(lambda x: torch.stack([x, 2 * x], 1))
    # Two views, the stack, and its transpose: the outputs of more axes than four are in the network's order.
    assert converted(deep, IMAGE, tmp_path)[1].manifest.quality["tensors_over_4d"] == 4

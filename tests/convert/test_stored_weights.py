"""Files with integer weights: what lies in them, in how many bytes, and what their runtimes make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_networks
import torch
from torch import nn
from two_bits import needs_two_bits

from edgepress import compress, convert, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_dynamic import QuantizeDynamic
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.compress.ternarize import Ternarize
from edgepress.convert._onnx_writing import pack
from edgepress.errors import BadOption
from edgepress.history import Value
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare
from edgepress.stage import Stage

WIDTH = 256


class Perceptron(nn.Module):
    """Tokens through two linear layers, the second without a bias, and their mean through a third."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.third = nn.Linear(WIDTH, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(torch.relu(self.first(tokens))).mean(1))


class Grouped(nn.Module):
    """A convolution in two groups, and a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped, self.depthwise = nn.Conv2d(8, 16, 3, groups=2), nn.Conv2d(16, 16, 3, groups=16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.depthwise(torch.relu(self.grouped(images)))


PERCEPTRON = (Perceptron, (2, 5, WIDTH))
GROUPED = (Grouped, (2, 8, 9, 9))
NETWORKS = [pytest.param(*PERCEPTRON, id="perceptron"), pytest.param(*GROUPED, id="grouped")]
FORMATS = ["onnx", pytest.param("tflite", marks=pytest.mark.tflite)]


def made(kind: type[nn.Module], shape: tuple[int, ...], stage: Stage) -> Program:
    torch.manual_seed(0)
    return compress.apply(Program.capture(kind(), (torch.zeros(shape),)), Recipe((stage,)))


def written(program: Program, format: str, folder: Path, **options: Value) -> Artifact:
    if format == "tflite":
        pytest.importorskip("ai_edge_litert")
    return convert.to(program, format, folder / "model", options)


def agreement_db(program: Program, artifact: Artifact) -> float:
    with runtime.open(artifact) as runner:
        return compare(
            program.run, runner.run, [program.signature.example(1, seed) for seed in range(4)]
        ).sqnr_db


def initializers(artifact: Artifact) -> dict[int, int]:
    """How many elements there are of each of ONNX's types in tensors of two axes and more."""
    found: dict[int, int] = {}
    for tensor in onnx.load(artifact.path).graph.initializer:
        if len(tensor.dims) > 1:
            found[tensor.data_type] = found.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    return found


def optimized(artifact: Artifact, folder: Path) -> set[str]:
    """The operators that ONNX Runtime makes of the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("kind", "shape"), NETWORKS)
def test_stored_weights_compute_as_in_the_network(
    kind: type[nn.Module], shape: tuple[int, ...], bits: int, format: str, tmp_path: Path
) -> None:
    program = made(kind, shape, QuantizeWeights(bits=bits, rounding="nearest"))
    artifact = written(program, format, tmp_path)
    # Floats in another order; but ONNX Runtime rounds what its MatMulNBits reads to 8 bits, and the manifest says so.
    rounds = (kind, format) == (Perceptron, "onnx")
    assert artifact.manifest.precision == ("int8" if rounds else "float32")
    assert agreement_db(program, artifact) > (35 if rounds else 60)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("kind", "shape"), NETWORKS)
def test_dynamic_layers_compute_as_in_the_network(
    kind: type[nn.Module], shape: tuple[int, ...], bits: int, format: str, tmp_path: Path
) -> None:
    program = made(kind, shape, QuantizeDynamic(bits=bits, rounding="nearest"))
    artifact = written(program, format, tmp_path)
    assert artifact.manifest.precision == "int8"
    # ONNX rounds activations as we do; LiteRT each row of tokens and each sample by itself.
    assert agreement_db(program, artifact) > (60 if format == "onnx" else 30)


def test_onnx_stores_halves_and_computes_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for kind, shape in (PERCEPTRON, GROUPED):
        program = Program.capture(kind(), (torch.zeros(shape),))
        artifact = written(program, "onnx", tmp_path, weights="float16")
        assert artifact.manifest.precision == "float16"
        assert set(initializers(artifact)) == {onnx.TensorProto.FLOAT16}
        assert "Cast" not in optimized(artifact, tmp_path)
        assert agreement_db(program, artifact) > 55  # 11 bits of mantissa: seen 65 and more
    with pytest.raises(BadOption, match="for float networks"):
        convert.check(made(*GROUPED, QuantizeWeights(rounding="nearest")), "onnx", {"weights": "float16"})


def test_onnx_packs_four_bits(tmp_path: Path) -> None:
    program = made(*PERCEPTRON, QuantizeWeights(bits=4, rounding="nearest"))
    artifact = written(program, "onnx", tmp_path)
    weights = 2 * WIDTH**2 + 8 * WIDTH
    assert initializers(artifact) == {onnx.TensorProto.INT4: weights}
    assert artifact.manifest.size_bytes < weights / 2 + 20_000  # half a byte each; scales and graph
    bytes_each = written(program, "onnx", tmp_path, packed=False)
    assert initializers(bytes_each) == {onnx.TensorProto.INT8: weights}


def test_onnx_runtime_multiplies_blocks_without_widening_them(tmp_path: Path) -> None:
    program = made(*PERCEPTRON, QuantizeWeights(bits=4, group_size=32, rounding="nearest"))
    artifact = written(program, "onnx", tmp_path)
    assert "MatMulNBits" in optimized(artifact, tmp_path)
    assert artifact.manifest.precision == "int8"
    assert agreement_db(program, artifact) > 35  # it rounds what it reads to 8 bits


def test_onnx_runtime_multiplies_integers_whose_scale_it_finds(tmp_path: Path) -> None:
    program = made(*PERCEPTRON, QuantizeDynamic(bits=4, rounding="nearest"))
    artifact = written(program, "onnx", tmp_path)
    assert "DynamicQuantizeMatMul" in optimized(artifact, tmp_path)
    assert set(initializers(artifact)) == {onnx.TensorProto.INT4}
    convolving = written(made(*GROUPED, QuantizeDynamic(bits=4, rounding="nearest")), "onnx", tmp_path)
    assert "ConvInteger" in optimized(convolving, tmp_path)
    assert onnx.TensorProto.UINT4 in initializers(convolving)


def test_packed_weights_still_meet_integer_kernels(tmp_path: Path) -> None:
    """The Cast that unpacks them is folded when the file is loaded, before convolutions are fused."""
    program = compress.apply(
        tiny_networks.capture(tiny_networks.Concatenated),
        Recipe((QuantizeStatic(scheme="w4a8", rounding="nearest"),)),
        tiny_networks.Patches(),
    )
    packed = written(program, "onnx", tmp_path)
    operators = optimized(packed, tmp_path)
    assert "QLinearConv" in operators
    assert "Conv" not in operators
    assert onnx.TensorProto.INT4 in initializers(packed)
    assert packed.manifest.quality["float_operations"] == 0


@pytest.fixture(scope="module")
def ternary() -> Program:
    return compress.apply(
        tiny_networks.capture(tiny_networks.Concatenated),
        Recipe((Ternarize(epochs=1, samples=64),)),
        tiny_networks.Patches(),
    )


def test_two_bits_take_four_where_the_runtime_here_reads_no_less(
    ternary: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "two_bits_are_read", lambda: False)
    packed = written(ternary, "onnx", tmp_path)
    # The layers in the middle; the first and the last keep 8 bits.
    assert initializers(packed)[onnx.TensorProto.INT4] == 16 * 16 + 16 * 16 * 9
    assert onnx.load(packed.path).opset_import[0].version == 21
    assert agreement_db(ternary, packed) > 40


@needs_two_bits
def test_onnx_packs_two_bits_and_meets_integer_kernels(ternary: Program, tmp_path: Path) -> None:
    packed = written(ternary, "onnx", tmp_path)
    # The layers in the middle; the first and the last keep 8 bits.
    assert initializers(packed)[onnx.TensorProto.INT2] == 16 * 16 + 16 * 16 * 9
    operators = optimized(packed, tmp_path)
    assert "QLinearConv" in operators
    assert "Conv" not in operators
    packed_db = agreement_db(ternary, packed)
    whole = written(ternary, "onnx", tmp_path, packed=False)
    assert onnx.TensorProto.INT2 not in initializers(whole)
    assert packed_db == agreement_db(ternary, whole)


@pytest.mark.tflite
def test_tflite_packs_four_bits_between_int8_activations(tmp_path: Path) -> None:
    program = compress.apply(
        tiny_networks.capture(tiny_networks.Concatenated),
        Recipe((QuantizeStatic(scheme="w4a8", rounding="nearest"),)),
        tiny_networks.Patches(),
    )
    packed = written(program, "tflite", tmp_path)
    packed_db = agreement_db(program, packed)
    whole = written(program, "tflite", tmp_path, packed=False)
    weights = 16 * 27 + 16 * 16 + 16 * 16 * 9 + 4 * 512
    saved = whole.manifest.size_bytes - packed.manifest.size_bytes
    assert abs(saved - weights / 2) < 16 * 4  # but for what each of the four is aligned to
    assert packed_db > 20


@pytest.mark.tflite
def test_tflite_permutes_stored_weights_where_it_takes_shuffles_away(tmp_path: Path) -> None:
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 6, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mixed = torch.relu(self.first(images)).view(-1, 2, 4, 5, 5).transpose(1, 2).flatten(1, 2)
            return self.second(mixed)

    program = made(Shuffled, (2, 4, 5, 5), QuantizeWeights(bits=4, rounding="nearest"))
    artifact = written(program, "tflite", tmp_path)
    assert artifact.manifest.quality["transposes"] == 0
    assert agreement_db(program, artifact) > 60


@pytest.mark.tflite
def test_tflite_stores_an_embedding_as_integers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = Program.capture(nn.Embedding(64, 32), (torch.zeros(2, 3, dtype=torch.int64),))
    program = compress.apply(program, Recipe((QuantizeWeights(bits=4, rounding="nearest"),)))
    artifact = written(program, "tflite", tmp_path)
    assert artifact.manifest.size_bytes < 64 * 32 / 2 + 2500  # scales, names and the graph
    inputs = (np.arange(3)[None] * 20,)
    with runtime.open(artifact) as runner:
        np.testing.assert_allclose(runner.run(*inputs)[0], program.run(*inputs)[0], atol=1e-6)

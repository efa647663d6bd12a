"""The networks of the zoo that are no classifiers, pruned, quantized, converted and compared, one output at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_tasks
from settled_networks import settled

from edgepress import compress, convert, cost, runtime
from edgepress.artifact import Artifact
from edgepress.compress._quantization.bits import Scheme
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare, limit_db

FORMATS = ("onnx", "tflite")
SHARES = {"seq2seq_encoder": 0.9}
"""Of the multiply-accumulates, where not half: this one's states are what it gives, so that they keep their width."""
TWO_STAGES = ("faster_rcnn_resnet50_fpn", "mask_rcnn_resnet50_fpn", "rfcn_resnet101")
"""They choose regions by the ranks of logits, which a rounding swaps: trained, they are judged by what they find
(test_whole_road_detectors)."""


def small(name: str) -> Program:
    """With statistics that the batch norms have seen."""
    program = small_tasks.captured(name)[1]
    return settled(program, (small_tasks.inputs(name, 4, seed) for seed in range(20)))


def samples(network: str) -> ArrayData:
    """Random inputs of the network's own shapes."""
    return ArrayData(*(tensor.numpy() for tensor in small_tasks.inputs(network, 16, seed=99)))


def parity(program: Program, name: str, format: str, folder: Path) -> float:
    """The SQNR in dB of the converted file's worst output against the program's."""
    runtime.find(runtime.runners_of(format)[0]).require()
    artifact = convert.to(program, format, folder / f"model.{format}")
    inputs = tuple(tensor.numpy() for tensor in small_tasks.inputs(name, 2, seed=7))
    with runtime.open(artifact) as runner:
        return compare(program.run, runner.run, [inputs]).sqnr_db


@pytest.mark.slow
@pytest.mark.parametrize("name", small_tasks.SMALL)
def test_a_pruned_network_converts(name: str, tmp_path: Path) -> None:
    """Half of the MACs gone, and the files still give all of the program's outputs, to the order of float sums."""
    original, share = small(name), SHARES.get(name, 0.5)
    pruned = compress.apply(original, Recipe((PruneChannels(macs=share),)))
    assert share - 0.2 < cost.measure(pruned).macs / cost.measure(original).macs <= share
    for format in FORMATS:
        assert parity(pruned, name, format, tmp_path) > 80


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in small_tasks.SMALL if name not in TWO_STAGES])
def test_a_quantized_network_converts(name: str, tmp_path: Path) -> None:
    """The files give what the program does, as closely as files of any quantized network have to."""
    original = small(name)
    quantized = compress.apply(original, Recipe((QuantizeStatic(samples=16),)), samples(name))
    assert quantized.precision == "int8"
    for format in FORMATS:
        assert parity(quantized, name, format, tmp_path) > limit_db("int8", "int8")


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "limit"), [("w4a8", 20), ("w8a16", 60)])
@pytest.mark.parametrize("name", ["dcgan_generator", "unet"])
def test_transposed_convolutions_of_other_bits_convert(
    name: str, scheme: Scheme, limit: float, tmp_path: Path
) -> None:
    """A rounding on the border moves a value of 8 bits by a 256th of its range, one of 16 by far less."""
    stage = QuantizeStatic(samples=16, scheme=scheme)
    quantized = compress.apply(small(name), Recipe((stage,)), samples(name))
    for format in FORMATS:
        assert parity(quantized, name, format, tmp_path) > limit


def test_transposed_convolutions_become_int8_where_the_runtime_has_them_so(tmp_path: Path) -> None:
    """LiteRT has, ONNX Runtime has not: there they are floats between roundings, and the manifest counts them."""
    program = small("dcgan_generator")
    quantized = compress.apply(program, Recipe((QuantizeStatic(samples=16),)), samples("dcgan_generator"))
    left = {}
    for format in FORMATS:
        assert parity(quantized, "dcgan_generator", format, tmp_path) > 20
        left[format] = Artifact.open(tmp_path / f"model.{format}").manifest.quality["float_operations"]
    assert left == {"onnx": 6, "tflite": 0}  # five layers and the tanh behind them

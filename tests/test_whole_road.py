"""Across all folders: the zoo pruned, quantized and converted, and a saved program that needs nobody's code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import small_zoo
import tiny_networks
import torch
from settled_networks import settled
from small_zoo import CLASSIFIERS
from torch import nn

from edgepress import compress, convert, cost, models, runtime
from edgepress.artifact import Artifact
from edgepress.compress.prune_channels import PruneChannels, prunable
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare, limit_db

PARTS: dict[str, Literal["apart"]] = {"shufflenet_v1": "apart"}
"""How the channels of convolutions in groups go, where the shuffles between them let none go otherwise."""
PER_CHANNEL = 16
"""Bytes of a quantized channel's scale, zero point and bias: much, beside filters of a few weights in many groups."""
FAST = ("lenet5", "shufflenet_v2")


def zoo(name: str, options: dict[str, Any]) -> Program:
    program = models.load(name, input_shape=small_zoo.SMALL[name], options={"classes": 10} | options)
    return settled(program, (program.example_tensors(batch=4, seed=seed) for seed in range(40)))


def pictures(program: Program, count: int) -> list[tuple[np.ndarray, ...]]:
    return [program.signature.example(count, seed=1)]


def parity(program: Program, format: str, folder: Path) -> float:
    """The SQNR in dB of the converted file against the program."""
    runtime.find(runtime.runners_of(format)[0]).require()
    artifact = convert.to(program, format, folder / f"model.{format}")
    with runtime.open(artifact) as runner:
        return compare(program.run, runner.run, pictures(program, 4)).sqnr_db


@pytest.mark.parametrize(("name", "options"), small_zoo.forms(CLASSIFIERS, FAST))
def test_a_pruned_network_converts(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Half of the MACs gone, and the files still give the program's outputs, to the order of float sums."""
    original = zoo(name, options)
    pruned = compress.apply(original, Recipe((PruneChannels(macs=0.5, parts=PARTS.get(name, "auto")),)))
    assert 0.3 < cost.measure(pruned).macs / cost.measure(original).macs <= 0.5
    for format in ("onnx", "tflite"):
        assert parity(pruned, format, tmp_path) > 80


def test_every_channel_of_shufflenet_is_free() -> None:
    """No whole-stage tie: each group of channels is made by one layer alone, and only the outputs stay."""
    found = prunable(zoo("shufflenet_v2", {}))
    assert all(len(group.layers) == 1 for group in found.groups)
    assert list(found.stays) == ["fc"]


@pytest.mark.parametrize(("name", "options"), small_zoo.forms(CLASSIFIERS, ()))
def test_a_quantized_network_converts(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """The files give what the program does, as closely as files of any quantized network have to."""
    original = zoo(name, options)
    data = samples(original)
    quantized = compress.apply(original, Recipe((QuantizeStatic(samples=32),)), data)
    assert quantized.precision == "int8"
    stored = quantized.exported.state_dict
    channels = sum(value.numel() for name, value in stored.items() if name.endswith("weight_scale"))
    most = 0.3 * cost.measure(original).weight_bytes + PER_CHANNEL * channels
    assert cost.measure(quantized).weight_bytes < most
    for format in ("onnx", "tflite"):
        assert parity(quantized, format, tmp_path) > limit_db("int8", "int8")


@pytest.mark.parametrize("pooling", [nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(4)])
def test_averages_of_integers_round_alike_everywhere(pooling: nn.Module, tmp_path: Path) -> None:
    """Of four integers every fourth average falls halfway between two, where runtimes round each its way: in the scale of
    what is averaged, up to an eighth of them would be a step off."""
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), pooling
    original = Program.capture(nn.Sequential(*layers), (torch.zeros(2, 3, 16, 16),))
    quantized = compress.apply(original, Recipe((QuantizeStatic(samples=32),)), samples(original))
    (inputs,) = pictures(quantized, 4)
    (expected,) = quantized.run(*inputs)
    for format in ("onnx", "tflite"):
        artifact = convert.to(quantized, format, tmp_path / f"model.{format}")
        with runtime.open(artifact) as runner:
            (found,) = runner.run(*inputs)
        assert np.mean(np.abs(found - expected) > 1e-6) < 0.01, "a layer's own ties"


def samples(program: Program) -> ArrayData:
    """Random inputs of any program's own shape."""
    return ArrayData(*program.signature.example(32, seed=2), labels=np.zeros(32, np.int64))


STRANGER = """
import sys
from edgepress.cli import run

data = ["--data", "npz:data.npz"]
assert "tiny_networks" not in sys.modules
assert run(["compress", "model.pt2", *data, "--fine-tune", "epochs=1", "--quantize", "int8", "-o", "out"]) == 0
assert run(["convert", "out/model.pt2", *data, "--to", "onnx,tflite", "-o", "out"]) == 0
assert run(["verify", "out/model.pt2", "out/model.tflite", *data]) == 0
"""


def test_a_saved_program_needs_none_of_the_models_code(tmp_path: Path) -> None:
    """Loaded in a process that never saw the class: trained, quantized, converted and verified there."""
    tiny_networks.capture(tiny_networks.Residual).save(tmp_path / "model.pt2")
    patches = next(tiny_networks.Patches(128).batches("evaluate", None, batch_size=128))
    np.savez(tmp_path / "data.npz", x=patches.inputs[0], y=patches.labels)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", STRANGER],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert Artifact.open(tmp_path / "out" / "model.tflite").manifest.precision == "int8"

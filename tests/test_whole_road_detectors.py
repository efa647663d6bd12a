"""Detectors of two stages in int8, judged by what they find: trained here, since random weights find nothing alike.

Which regions are proposed is a matter of ranks, and a rounding swaps those that are nearly equal: row by row nothing can
be said of a file. `-o junit_family=xunit1 --junit-xml=FILE` writes the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import drawn_shapes
import numpy as np
import pytest
import torch

from edgepress import compress, convert, models, runtime
from edgepress.accuracy import evaluate
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare, limit_agreement
from edgepress.runtime._compare import Run

Record = Callable[[str, object], None]
"""pytest's record_property."""
FORMATS = ("onnx", "tflite")
STEPS, PICTURES = 400, 64


@dataclass(frozen=True)
class Case:
    """What a network is to find, and how many regions it proposes. R-FCN has no anchors for what is small."""

    drawing: drawn_shapes.Drawing
    proposals: int


SMALL_SHAPES = drawn_shapes.Drawing(side=128, shortest=24, longest=72, most=3)
CASES = {
    "faster_rcnn_resnet50_fpn": Case(SMALL_SHAPES, 20),
    "mask_rcnn_resnet50_fpn": Case(SMALL_SHAPES, 12),
    "rfcn_resnet101": Case(drawn_shapes.Drawing(side=192, shortest=80, longest=150, most=2), 20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_trained_detector_finds_in_int8_what_it_found_in_float(
    name: str, tmp_path: Path, record_property: Record
) -> None:
    """The whole network, regions and all. There are about 100 ellipses: one found or lost is a point."""
    program = trained(name)
    calibration, data = (CASES[name].drawing.data(seed, PICTURES) for seed in (1, 2))
    quantized = compress.apply(program, Recipe((QuantizeStatic(samples=PICTURES),)), calibration)
    assert quantized.precision == "int8"
    before, after = (figures(made.run, program, data) for made in (program, quantized))
    alike = agreement(program.run, quantized.run, program, data)
    record_property("float32", before)
    record_property("int8", (*after, alike))
    assert min(before) > 60
    assert all(int8 > float32 - 4 for float32, int8 in zip(before, after, strict=True))
    assert alike > limit_agreement("float32", "int8")
    for format in FORMATS:
        artifact = convert.to(quantized, format, tmp_path / f"model.{format}")
        with runtime.open(artifact) as runner:
            told = figures(runner.run, program, data)
            alike = agreement(quantized.run, runner.run, program, data)
        record_property(format, (*told, alike))
        assert all(file > int8 - 3 for int8, file in zip(after, told, strict=True))
        assert alike > limit_agreement("int8", "int8")


def trained(name: str) -> Program:
    case = CASES[name]
    torch.manual_seed(0)
    network = models.find(name)(
        width=0.125, size=case.drawing.side, proposals=case.proposals, classes=drawn_shapes.CLASSES
    )
    side = case.drawing.side
    return Program.capture(
        drawn_shapes.trained(network, case.drawing, STEPS), (torch.zeros(2, 3, side, side),)
    )


def figures(run: Run, program: Program, data: ArrayData) -> tuple[float, ...]:
    """mAP in percent, and of a network that draws how right its masks are, on average."""
    told: tuple[float, ...] = (evaluate(run, data, None, reading=program.reading).percent,)
    shares: list[float] = []
    for batch in data.batches("evaluate", None):
        outputs = run(*batch.inputs)
        if len(outputs) > 3 and batch.labels is not None:
            shares += drawn_shapes.drawn_right(outputs, batch.labels, batch.inputs[0].shape[-1])
    return (*told, float(np.mean(shares))) if shares else told


def agreement(reference: Run, candidate: Run, program: Program, data: ArrayData) -> float:
    """How far both find the same, in percent."""
    inputs = [batch.inputs for batch in data.batches("evaluate", None)]
    alike = compare(reference, candidate, inputs, program.reading).found_agreement
    assert alike is not None
    return alike

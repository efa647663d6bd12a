"""MNN's converter as a function: from an ONNX file to an MNN file, and what is in one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.errors import UnsupportedModel
from edgepress.isolation import run_script

TOOL = Path(__file__).with_name("tool.py")
NAMED = ("--bizCode", "MNN")
"""The converter warns where a file has no such mark."""

CONVOLUTIONS = ("Convolution", "ConvolutionDepthwise")
"""Linear layers are among them: MNN makes 1 x 1 convolutions of them."""


@dataclass(frozen=True)
class MnnLayer:
    """A convolution with stored weights, as MNN fused it: the tensor it gives behind its activation."""

    name: str
    output: str
    channels: int


def converted(onnx: Path, mnn: Path, *options: str) -> None:
    """Write `mnn`. Raises UnsupportedModel, with the converter's last words, where it fails or crashes."""
    _run("-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", str(mnn), *options, makes=mnn)


def quantized(plain: Path, parameters: Path, mnn: Path) -> None:
    """Write `mnn`, with int8 layers as the compression parameters say, of an MNN file in float.

    Not of the ONNX file at once: of that, the converter lays large weights aside until it has quantized the others.
    """
    _run(
        *("-f", "MNN", "--modelFile", str(plain), "--MNNModel", str(mnn)),
        *("--compressionParamsFile", str(parameters)),
        makes=mnn,
    )


def layers(mnn: Path) -> list[MnnLayer]:
    """The convolutions of an MNN file, in a folder that may be written to."""
    text = mnn.with_suffix(".json")
    _run("-f", "MNN", "--modelFile", str(mnn), "--JsonFile", str(text), makes=text)
    net: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return [
        MnnLayer(
            operator["name"],
            net["tensorName"][operator["outputIndexes"][0]],
            operator["main"]["common"]["outputCount"],
        )
        for operator in net["oplists"]
        if operator["type"] in CONVOLUTIONS and len(operator["inputIndexes"]) == 1
    ]


def _run(*arguments: str, makes: Path) -> None:
    done = run_script(TOOL, *arguments, *NAMED, folder=makes.parent)
    if not done.succeeded or not makes.is_file() or not makes.stat().st_size:
        raise UnsupportedModel(
            f"MNN's converter fails on this network: {done.said}.",
            hint="--to onnx, --to ncnn or --to tflite; or write the layer that it names with other operators",
        )

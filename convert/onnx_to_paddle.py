"""Writes a Paddle inference model with x2paddle, in an isolated environment of Paddle's own."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.artifact import Artifact, Manifest
from edgepress.convert._converter import Converter
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.errors import UnsupportedModel
from edgepress.isolation import run_script
from edgepress.paddle_file import MEMBERS, PADDLE_FORMAT, write

if TYPE_CHECKING:
    import onnx

TOOL = Path(__file__).parent / "_paddle" / "tool.py"
IR_VERSION = 9
"""The newest that onnx 1.15 reads; nothing that our files hold came later."""

OPSET = 17
"""The last in which reductions have their axes where x2paddle looks for them."""

NO_BIAS = "no_bias"
"""What a linear layer without a bias adds: x2paddle knows none without."""


@dataclass(frozen=True, kw_only=True)
class OnnxToPaddle(Converter[Artifact]):
    """A .paddle file, which unzips to model.json and model.pdiparams, with a dynamic batch; float networks only."""

    @classmethod
    def require(cls) -> None:
        ENVIRONMENT.require()

    def check(self, source: Artifact) -> None:
        """Raise UnsupportedModel for a quantized network."""
        if source.manifest.precision == "int8":
            raise UnsupportedModel(
                "x2paddle reads no quantized network.",
                where="--to paddle",
                hint="convert the float network, or --to onnx",
            )
        super().check(source)

    def write(self, source: Artifact, path: Path) -> Manifest:
        """Raises UnsupportedModel, with x2paddle's last words, for what it cannot convert."""
        with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
            folder = Path(name)
            _write_older(source.path, folder / "model.onnx")
            done = run_script(
                TOOL, folder / "model.onnx", folder / "made", folder=folder, python=ENVIRONMENT.python
            )
            made = folder / "made" / "inference_model"
            if not done.succeeded or not all((made / member).is_file() for member in MEMBERS):
                raise UnsupportedModel(
                    f"x2paddle fails on this network: {done.said}.",
                    hint="--to onnx or --to tflite; or write the layer that it names with other operators",
                )
            write(path, made)
        return dataclasses.replace(
            source.manifest,
            format=PADDLE_FORMAT,
            tools=dict(source.manifest.tools) | _tools(),
            quality={},
            verification=None,
        )


def _write_older(source: Path, path: Path) -> None:
    """The same model as x2paddle takes it: of an older version, with every bias, without attributes that say nothing.

    Raises UnsupportedModel for an operator that the older version lacks.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper, version_converter

    try:
        model = version_converter.convert_version(onnx.load(source), OPSET)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(
            f"x2paddle reads ONNX of opset {OPSET}, which this network is too new for: {error}",
            hint="--to onnx or --to tflite",
        ) from error
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), NO_BIAS))
    for node in model.graph.node:
        if node.op_type == "Gemm" and len(node.input) == 2:
            node.input.append(NO_BIAS)
        for attribute in list(node.attribute):
            if attribute.name == "noop_with_empty_axes" or _is_dense_pooling(node.op_type, attribute):
                node.attribute.remove(attribute)
    onnx.save(model, path)


def _is_dense_pooling(kind: str, attribute: onnx.AttributeProto) -> bool:
    """Dilations of 1, which x2paddle takes for others."""
    return kind == "MaxPool" and attribute.name == "dilations" and set(attribute.ints) == {1}


def _tools() -> dict[str, str]:
    """The pinned versions of the environment: paddlepaddle==3.3.1 as {"paddlepaddle": "3.3.1"}."""
    pinned = (requirement.partition("==") for requirement in ENVIRONMENT.requirements)
    return {name: version for name, _, version in pinned if name in ("paddlepaddle", "x2paddle")}

"""Writes an OpenVINO file, graph and weights in one, for Intel's processors; int8 where the ONNX file is quantized."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Le

from edgepress.artifact import Artifact, Manifest
from edgepress.convert._converter import Converter
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import UnsupportedModel
from edgepress.history import Value
from edgepress.isolation import run_script
from edgepress.openvino_file import GRAPH, OPENVINO_FORMAT, WEIGHTS, openvino, reason, write
from edgepress.program import tool_versions

if TYPE_CHECKING:
    from openvino import Model

LAYERS = Path(__file__).with_name("_openvino_layers.py")

WITHOUT_RULE = re.compile(r"No conversion rule found for operations: (.*)")
OPERATOR = re.compile(r"\b(\w+)-\d+\b")
"""How OpenVINO names the operators that it lacks: Det-18 is Det as of opset 18."""


@dataclass(frozen=True, kw_only=True)
class OnnxToOpenvino(Converter[Artifact]):
    """An OpenVINO file for exactly `batch` samples at once, which is some percent faster than for any number.

    int8 comes from our own quantized graph, whose activations the ONNX file holds as uint8: OpenVINO crashes on int8 ones.
    """

    batch: Annotated[int, Gt(0), Le(4096)] = 1

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return ("openvino",)

    @classmethod
    def extra(cls) -> str:
        return "openvino"

    def unsupported(self, source: Artifact) -> Sequence[UnsupportedOperator]:
        """By reading it, which is quick and names every operator without a rule."""
        try:
            self._model(source)
        except RuntimeError as error:
            if lacking := WITHOUT_RULE.search(str(error)):
                return _places(source, OPERATOR.findall(lacking[1]))
            raise _refused(source, error) from None
        return ()

    def write(self, source: Artifact, path: Path) -> Manifest:
        """Raises UnsupportedModel, with OpenVINO's words, for what it cannot read or compile."""
        model = self._read(source)
        with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
            made = Path(name, GRAPH)
            openvino().save_model(model, made, compress_to_fp16=False)
            quality = _quality(made, source)
            write(path, made.read_bytes(), Path(name, WEIGHTS).read_bytes())
        return dataclasses.replace(
            source.manifest,
            format=OPENVINO_FORMAT,
            signature=source.manifest.signature.with_batch(self.batch),
            tools=dict(source.manifest.tools) | tool_versions("openvino"),
            quality=quality,
            verification=None,
        )

    def _read(self, source: Artifact) -> Model:
        try:
            return self._model(source)
        except RuntimeError as error:
            raise _refused(source, error) from None

    def _model(self, source: Artifact) -> Model:
        model = openvino().Core().read_model(source.path)
        shapes = [spec.with_batch(self.batch) for spec in source.manifest.signature.inputs]
        model.reshape({place: list(shape) for place, shape in enumerate(shapes)})
        return model


def _refused(source: Artifact, error: RuntimeError) -> UnsupportedModel:
    return UnsupportedModel(
        f"OpenVINO cannot read this network: {reason(error)}.",
        where=str(source.path),
        hint="write the layer that it names with other operators, or run the ONNX file on ONNX Runtime",
    )


def _places(source: Artifact, kinds: Collection[str]) -> tuple[UnsupportedOperator, ...]:
    import onnx

    nodes = onnx.load(source.path, load_external_data=False).graph.node
    return tuple(
        UnsupportedOperator(
            node.name.rpartition("/")[0], node.op_type, f"OpenVINO has no operator {node.op_type}."
        )
        for node in nodes
        if node.op_type in kinds
    )


def _quality(graph: Path, source: Artifact) -> dict[str, Value]:
    """How many layers compute in int8 and how many in float. Raises UnsupportedModel where OpenVINO's compiler ends its
    process, as version 2026.4 does on NASNet in int8: no program could load that file."""
    done = run_script(LAYERS, graph, folder=graph.parent)
    if not done.succeeded:
        raise UnsupportedModel(
            f"OpenVINO fails to compile this network: {done.said}.",
            where=str(source.path),
            hint="convert the float32 network, or run the int8 ONNX file on ONNX Runtime",
        )
    return dict(json.loads(done.output.splitlines()[-1]))

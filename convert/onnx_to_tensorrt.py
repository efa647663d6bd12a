"""Builds a TensorRT engine, for the very GPU and TensorRT of this machine, from an ONNX file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le

from edgepress import nvidia, plugins
from edgepress.artifact import Artifact, Manifest
from edgepress.convert._converter import Converter
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.errors import BadOption
from edgepress.program import tool_versions

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, kw_only=True)
class OnnxToTensorrt(Converter[Artifact]):
    """An engine that takes exactly `batch` samples at once. A quantized network's activations become symmetric about
    zero, with the ranges that its calibration found. What is asked before is TensorRT's published rules, for which
    it need not be installed.

    weights: the type that a float network is stored and computed in.
    workspace_mib: the memory that a layer may use besides weights and values, in MiB.
    level: how long to look for faster kernels, from 0 to 5.
    tf32: whether float32 may be multiplied with 10 bits of mantissa, which newer GPUs do faster.
    """

    batch: Annotated[int, Gt(0), Le(4096)] = 1
    weights: Literal["float32", "float16"] = "float32"
    workspace_mib: Annotated[int, Gt(0), Le(1 << 20)] = 1024
    level: Annotated[int, Ge(0), Le(5)] = 3
    tf32: bool = False

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        return nvidia.PACKAGES

    @classmethod
    def extra(cls) -> str:
        return nvidia.EXTRA

    @classmethod
    def require_to_ask(cls) -> None:
        plugins.require("onnx", extra="")

    def check(self, source: Artifact) -> None:
        """Raise UnsupportedModel, naming the user's layers, for what breaks TensorRT's rules, BadOption for
        weights=float16 of a quantized network."""
        if self.weights == "float16" and source.manifest.precision == "int8":
            raise BadOption(
                "weights=float16 is for float networks; this one is quantized to int8.",
                where="--to tensorrt",
                hint="leave the option out",
            )
        super().check(source)

    def unsupported(self, source: Artifact) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._tensorrt import preflight

        return preflight.unsupported(self._prepared(source))

    def write(self, source: Artifact, path: Path) -> Manifest:
        """Raises UnsupportedModel for what TensorRT's parser refuses, DeviceFailed without a GPU."""
        from edgepress.convert._tensorrt import preflight
        from edgepress.convert._tensorrt.build import Building, engine

        model = self._prepared(source)
        how = Building(batch=self.batch, workspace_mib=self.workspace_mib, level=self.level, tf32=self.tf32)
        identity = nvidia.identity()
        path.write_bytes(engine(model.SerializeToString(), source.manifest.signature, how, identity))
        quantized = source.manifest.precision == "int8"
        return dataclasses.replace(
            source.manifest,
            format="tensorrt",
            signature=source.manifest.signature.with_batch(self.batch),
            precision="int8" if quantized else self.weights,
            tools=tool_versions("onnx") | {"tensorrt": identity["tensorrt"]},
            quality=preflight.quality(model),
            bound_to=identity,
            verification=None,
        )

    def _prepared(self, source: Artifact) -> onnx.ModelProto:
        """The model in the types that TensorRT shall compute in."""
        import onnx
        import onnx_ir

        from edgepress.convert._onnx_writing.activations import make_activations_symmetric
        from edgepress.convert._tensorrt.half import halved

        model = onnx.load(source.path)
        if source.manifest.precision == "int8":
            ir = onnx_ir.from_proto(model)
            make_activations_symmetric(ir)
            return onnx_ir.to_proto(ir)
        return halved(model) if self.weights == "float16" else model

"""ONNX's own reference evaluator: what a file means by the standard's definitions in NumPy, as a second opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgepress.errors import BadInput, DeviceFailed, UnsupportedTarget
from edgepress.runtime._runner import Runner


class OnnxReferenceRunner(Runner):
    """Operator by operator, on one thread, slowly: where ONNX Runtime's outputs depart from the network's, it tells
    whether the file is wrong or the runtime. `edgepress verify a.pt2 a.onnx --on cpu:onnx_reference`."""

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    requires: ClassVar[tuple[str, ...]] = ("onnx",)
    portable: ClassVar[bool] = False
    for_reference: ClassVar[bool] = True

    def open(self) -> None:
        from onnx.reference import ReferenceEvaluator

        try:
            self._evaluator = ReferenceEvaluator(str(self.artifact.path))
        except Exception as error:  # what its parsers make of bytes that are no model shares no base class
            if isinstance(error, NotImplementedError) or "No implementation" in str(error):
                raise UnsupportedTarget(
                    f"ONNX's reference lacks an operator: {error}",
                    where=str(self.artifact.path),
                    hint="another opset (--to onnx has the option `opset`), or --on cpu:onnxruntime",
                ) from None
            raise BadInput(
                f"ONNX does not read the file: {type(error).__name__}: {error}",
                where=str(self.artifact.path),
                hint="convert it again; the file may be cut off",
            ) from None
        self._check_ends(len(self._evaluator.input_names), len(self._evaluator.output_names))

    def close(self) -> None:
        del self._evaluator

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        self._feeds = dict(zip(self._evaluator.input_names, arrays, strict=True))

    def invoke(self) -> None:
        try:
            self._outputs = self._evaluator.run(None, self._feeds)
        except Exception as error:  # an operator's NumPy code may raise anything
            raise DeviceFailed(
                f"ONNX's reference fails to execute: {type(error).__name__}: {error}",
                where=str(self.artifact.path),
                hint="ONNX Runtime has operators that the reference lacks: --on cpu:onnxruntime",
            ) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(output) for output in self._outputs)

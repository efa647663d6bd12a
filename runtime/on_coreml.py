"""Runs Core ML files on the CPU of a Mac, the only machine that they run on beside phones and tablets."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgepress.coreml_file import COREML_FORMAT, unpack
from edgepress.errors import BackendMissing, BadInput
from edgepress.runtime._runner import Runner

SYSTEM = "darwin"


class CoreMLRunner(Runner):
    """One model on CPU_ONLY, so that it can be compared; Core ML chooses the number of threads itself.

    Written to coremltools' documented interface, and not run: where this is not macOS, `require` says so, and a
    verification is recorded as skipped.
    """

    formats: ClassVar[tuple[str, ...]] = (COREML_FORMAT,)
    requires: ClassVar[tuple[str, ...]] = ("coremltools",)
    portable: ClassVar[bool] = False
    extra: ClassVar[str] = "coreml"

    @classmethod
    def require(cls) -> None:
        if sys.platform != SYSTEM:
            raise BackendMissing(
                "Core ML runs only on macOS.",
                hint="copy the file and its manifest to a Mac, and run edgepress verify there",
            )
        super().require()

    def open(self) -> None:
        import coremltools

        self._folder = tempfile.TemporaryDirectory(prefix="edgepress-")
        try:
            package = unpack(self.artifact.path, Path(self._folder.name))
            units = coremltools.ComputeUnit.CPU_ONLY
            self._model = coremltools.models.MLModel(str(package), compute_units=units)
        except RuntimeError as error:
            self._folder.cleanup()
            raise BadInput(
                f"Core ML does not load this file: {error}",
                where=str(self.artifact.path.absolute()),
                hint="convert it again; it needs macOS 14 or newer",
            ) from None
        except BadInput:
            self._folder.cleanup()
            raise
        self._names, self._outputs = self.artifact.manifest.signature.distinct_names()
        self._loaded: dict[str, np.ndarray] = {}
        self._results: dict[str, Any] = {}

    def close(self) -> None:
        del self._model
        self._folder.cleanup()

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        narrow = (array.astype(np.int32) if array.dtype == np.int64 else array for array in arrays)
        self._loaded = dict(zip(self._names, narrow, strict=True))

    def invoke(self) -> None:
        try:
            self._results = self._model.predict(self._loaded)
        except RuntimeError as error:
            raise self._failed("Core ML", error) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        specs = self.artifact.manifest.signature.outputs
        return tuple(
            np.array(self._results[name], dtype=spec.dtype).reshape(spec.with_batch(1))
            for spec, name in zip(specs, self._outputs, strict=True)
        )

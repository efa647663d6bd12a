"""Runs Paddle files on Paddle Inference, in a process of its isolated environment."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgepress.environments.paddle import ENVIRONMENT
from edgepress.errors import BadInput
from edgepress.paddle_file import PADDLE_FORMAT, unpack
from edgepress.runtime._runner import Runner
from edgepress.worker import ToolFailed, Worker

SESSION = Path(__file__).parent / "_paddle" / "session.py"
WITH_ONEDNN, WITHOUT_ONEDNN = "onednn", "plain"
"""Whose kernels the session begins with."""


class PaddleRunner(Runner):
    """One predictor with `threads` threads. Inputs and outputs cross the pipes before and after `invoke`; what it
    times beside the execution is one short message to the process and one back."""

    formats: ClassVar[tuple[str, ...]] = (PADDLE_FORMAT,)
    portable: ClassVar[bool] = False

    @classmethod
    def require(cls) -> None:
        ENVIRONMENT.require()

    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgepress-")
        folder = Path(self._folder.name)
        try:
            graph, weights = unpack(self.artifact.path, folder)
            try:
                self._worker = self._started(graph, weights, WITH_ONEDNN)
            except ToolFailed:
                # oneDNN's passes refuse some networks that Paddle's own kernels execute, or end the process.
                self._worker = self._started(graph, weights, WITHOUT_ONEDNN)
        except ToolFailed as error:
            self._folder.cleanup()
            raise BadInput(
                f"Paddle does not load this file: {error}",
                where=str(self.artifact.path.absolute()),
                hint="convert it again; it may be made for a newer Paddle",
            ) from None
        except BadInput:
            self._folder.cleanup()
            raise

    def _started(self, graph: Path, weights: Path, kernels: str) -> Worker:
        return Worker(
            SESSION,
            graph,
            weights,
            str(self.threads),
            kernels,
            python=ENVIRONMENT.python,
            folder=graph.parent,
        )

    def close(self) -> None:
        self._worker.close()
        self._folder.cleanup()

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        self._call("load", *arrays)

    def invoke(self) -> None:
        self._call("invoke")

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(array.copy() for array in self._call("read"))

    def _call(self, name: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            return self._worker.call(name, *arrays)
        except ToolFailed as error:
            raise self._failed("Paddle", error) from None

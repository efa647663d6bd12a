"""Runs ONNX files on tract, an engine in Rust for ARM and x86 processors that is one small library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from edgepress.errors import BadInput, UnsupportedTarget
from edgepress.files import existing_file
from edgepress.runtime import _onnx_fusion
from edgepress.runtime._runner import LayerTime, Runner

BATCH = "batch"
"""The symbol that stands for the batch in our ONNX files."""
PRODUCT = "OptMatMul"
"""tract's word for what convolutions and linear layers become."""


class TractRunner(Runner):
    """One plan for the batch that was loaded last: tract optimises for sizes that it knows, and a new batch makes a new
    plan, outside of `invoke`. It computes on one thread, whatever its processor has."""

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    requires: ClassVar[tuple[str, ...]] = ("tract",)
    extra: ClassVar[str] = "tract"

    def open(self) -> None:
        if self.threads != 1:
            raise UnsupportedTarget(
                f"tract computes on one thread, not on {self.threads}.",
                where="runner tract",
                hint="--threads 1, or another runner: --on cpu:onnxruntime",
            )
        self._batch: int | None = None
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._plan = self._planned(self.artifact.manifest.signature.inputs[0].shape[0] or 1)

    def close(self) -> None:
        self._plan, self._inputs, self._outputs = None, [], []

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        from tract import Tensor

        self._plan = self._planned(len(arrays[0]))
        self._inputs = [Tensor.from_numpy(array) for array in arrays]

    def invoke(self) -> None:
        from tract import TractError

        try:
            self._outputs = self._plan.run(self._inputs)
        except TractError as error:
            raise self._failed("tract", _reason(error)) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(output.to_numpy() for output in self._outputs)

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each operator of the plan, on the inputs loaded last: means of as many runs as tract fits into three
        seconds, whatever `runs` says. What it has fused bears one layer's name alone, so it tells no layers."""
        nodes = json.loads(self._plan.profile_json(self._inputs))["nodes"]
        timed = (node for node in nodes if node.get("secs_per_iter"))
        file = _onnx_fusion.nodes(self.artifact.path.read_bytes())
        return tuple(
            LayerTime(name, kind, 1e3 * node["secs_per_iter"], _layers(name, kind, file))
            for node in sorted(timed, key=lambda node: node["qualified_id"])
            for name, kind in [(node["node_name"], node["op_name"])]
        )

    def _planned(self, batch: int) -> Any:
        """The file as tract executes it with so many samples."""
        if batch == self._batch:
            return self._plan
        from tract import SetSymbols, TractError, onnx

        path = existing_file(self.artifact.path, "ONNX file")
        try:
            model = onnx().load(path).into_model()
            model.transform(SetSymbols({BATCH: batch}))
            plan = model.into_runnable()
        except TractError as error:
            raise BadInput(
                f"tract does not load this file: {_reason(error)}",
                where=str(path.absolute()),
                hint="run it on ONNX Runtime (--on cpu:onnxruntime); if that refuses it too, convert it again",
            ) from None
        self._check_ends(plan.input_count(), plan.output_count())
        self._batch = batch
        return plan


def _layers(name: str, kind: str, file: Sequence[_onnx_fusion.Node]) -> tuple[str, ...]:
    """Of the file's node whose name an operator's begins with, dots behind it; a product that bears the name of what
    follows it has that taken along, back to the file's product."""
    named = {node.name: node for node in file}
    while name and name not in named:
        name = name.rpartition(".")[0]
    node, producers = named.get(name), {output: node for node in file for output in node.outputs}
    found: list[str] = []
    while node is not None:
        found.insert(0, node.layer)
        is_taken_along = kind == PRODUCT and node.type in _onnx_fusion.TAKEN_ALONG
        node = producers.get(node.inputs[0]) if is_taken_along else None
    return tuple(dict.fromkeys(filter(None, found)))


def _reason(error: Exception) -> str:
    """What tract says went wrong, and why, on one line, without its own stack."""
    return " ".join(str(error).partition("Stack backtrace")[0].split())

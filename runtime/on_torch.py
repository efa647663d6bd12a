"""PyTorch itself, on the CPU: the reference that every other runner is compared with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.artifact import PROGRAM_FORMATS
from edgepress.layer_output import LayerOutput
from edgepress.runtime._runner import LayerTime, Runner

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node


class TorchRunner(Runner):
    """Runs the captured graph in inference mode, an operator at a time."""

    formats = PROGRAM_FORMATS
    requires = ("torch",)

    def open(self) -> None:
        from edgepress.program import Program

        self._module: GraphModule = Program.load(self.artifact.path).graph_module()
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: list[torch.Tensor] = []

    def close(self) -> None:
        del self._module, self._inputs, self._outputs

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        import torch

        self._inputs = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)

    def invoke(self) -> None:
        import torch

        with torch.inference_mode(), _threads(self.threads):
            outputs = self._module(*self._inputs)
        self._outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(output.numpy().copy() for output in self._outputs)

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        import torch

        from edgepress import graph

        with _threads(self.threads):
            return graph.layer_outputs(self._module, [torch.from_numpy(array) for array in arrays])

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each ATen operator under the user's layer names, on the inputs loaded last."""
        import torch

        from edgepress import graph

        times_ms: dict[Node, list[float]] = {node: [] for node in graph.operators(self._module)}
        with torch.inference_mode(), _threads(self.threads):
            timed = _timing_interpreter(self._module, times_ms)
            for _ in range(runs):
                timed.run(*self._inputs)
        return tuple(
            LayerTime(graph.layer_name(node), graph.op_name(node), statistics.median(samples))
            for node, samples in times_ms.items()
            if samples
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch's thread count belongs to the whole process: borrowed for one invocation, at the cost of about 1 us."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timing_interpreter(module: GraphModule, times_ms: dict[Node, list[float]]) -> Any:
    """An interpreter of `module` that appends the duration of every node in `times_ms`."""
    import torch

    class Timed(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            start = time.perf_counter()
            result = super().run_node(n)
            if n in times_ms:
                times_ms[n].append((time.perf_counter() - start) * 1e3)
            return result

    return Timed(module)

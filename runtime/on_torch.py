"""PyTorch itself: on the CPU, the reference that every other runner is compared with; or on a CUDA device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.artifact import PROGRAM_FORMATS
from edgepress.devices.cpu import Cpu
from edgepress.devices.cuda import Cuda
from edgepress.layer_output import LayerOutput
from edgepress.runtime._runner import LayerTime, Runner
from edgepress.runtime._torch_cuda import Events, computing, device_of

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node


class TorchRunner(Runner):
    """Runs the captured graph in inference mode, an operator at a time. On a GPU, copies are outside of `invoke`, which
    waits until the GPU is done; `device_ms` is what its own clock says of that. Its arithmetic is the target's: float32 is
    not rounded to TF32 unless that is asked for."""

    formats = PROGRAM_FORMATS
    requires = ("torch",)
    devices = (Cpu, Cuda)
    portable = False

    def open(self) -> None:
        from edgepress import graph
        from edgepress.program import Program

        self._device = device_of(self.target)
        program = Program.load(self.artifact.path)
        if program.signature.tensors() != self.artifact.manifest.signature.tensors():
            raise self.artifact.other_than_stated("its inputs or outputs are others")
        self._module: GraphModule = program.graph_module()
        with computing(self.target):
            graph.place(self._module, self._device)
            self._events = Events() if self._device.type == "cuda" else None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: list[torch.Tensor] = []

    def close(self) -> None:
        del self._module, self._inputs, self._outputs

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        import torch

        with computing(self.target):
            self._inputs = tuple(
                torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in arrays
            )

    def invoke(self) -> None:
        import torch

        with torch.inference_mode(), _threads(self.threads), computing(self.target):
            if self._events:
                self._events.begin()
            outputs = self._module(*self._inputs)
            if self._events:
                self._events.end()
                self.device_ms = self._events.elapsed_ms()
        self._outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        specs = self.artifact.manifest.signature.outputs
        return tuple(
            output.cpu().numpy().astype(spec.dtype) for output, spec in zip(self._outputs, specs, strict=True)
        )

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        import torch

        from edgepress import graph

        with _threads(self.threads), computing(self.target):
            return graph.layer_outputs(
                self._module, [torch.from_numpy(array).to(self._device) for array in arrays]
            )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each ATen operator under the user's layer names, on the inputs loaded last."""
        import torch

        from edgepress import graph

        times_ms: dict[Node, list[float]] = {node: [] for node in graph.operators(self._module)}
        with torch.inference_mode(), _threads(self.threads), computing(self.target):
            timed = _timing_interpreter(self._module, times_ms, self._device)
            for _ in range(runs):
                timed.run(*self._inputs)
        return tuple(
            LayerTime(
                name := graph.layer_name(node), graph.op_name(node), statistics.median(samples), (name,)
            )
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


def _timing_interpreter(module: GraphModule, times_ms: dict[Node, list[float]], device: torch.device) -> Any:
    """An interpreter of `module` that appends the duration of every node in `times_ms`, on a GPU by its own clock."""
    import torch

    class Timed(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            start, events = time.perf_counter(), Events() if device.type == "cuda" else None
            if events:
                events.begin()
            result = super().run_node(n)
            if events:
                events.end()
            if n in times_ms:
                elapsed_ms = events.elapsed_ms() if events else (time.perf_counter() - start) * 1e3
                times_ms[n].append(elapsed_ms)
            return result

    return Timed(module)

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
from edgepress.errors import DeviceFailed
from edgepress.layer_output import LayerOutput
from edgepress.runtime._runner import LayerTime, Runner
from edgepress.runtime._target import Target

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node


class TorchRunner(Runner):
    """Runs the captured graph in inference mode, an operator at a time. On a GPU, copies are outside of `invoke`, which
    waits until the GPU is done; products of float32 matrices are not rounded to TF32 there."""

    formats = PROGRAM_FORMATS
    requires = ("torch",)
    devices = (Cpu, Cuda)
    portable = False

    def open(self) -> None:
        from edgepress import graph
        from edgepress.program import Program

        self._device = _device(self.target)
        self._module: GraphModule = Program.load(self.artifact.path).graph_module()
        graph.place(self._module, self._device)
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: list[torch.Tensor] = []

    def close(self) -> None:
        del self._module, self._inputs, self._outputs

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        import torch

        self._inputs = tuple(
            torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in arrays
        )

    def invoke(self) -> None:
        import torch

        with torch.inference_mode(), _threads(self.threads):
            outputs = self._module(*self._inputs)
            _wait(self._device)
        self._outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(output.cpu().numpy().copy() for output in self._outputs)

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        import torch

        from edgepress import graph

        with _threads(self.threads):
            return graph.layer_outputs(
                self._module, [torch.from_numpy(array).to(self._device) for array in arrays]
            )

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each ATen operator under the user's layer names, on the inputs loaded last."""
        import torch

        from edgepress import graph

        times_ms: dict[Node, list[float]] = {node: [] for node in graph.operators(self._module)}
        with torch.inference_mode(), _threads(self.threads):
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


def _device(target: Target) -> torch.device:
    """Raises DeviceFailed for a GPU that PyTorch does not find."""
    import torch

    if not isinstance(target.device, Cuda):
        return torch.device("cpu")
    if target.device.index >= torch.cuda.device_count():
        raise DeviceFailed(
            f"PyTorch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices here.",
            where=target.place,
            hint="a PyTorch built for CUDA, and a driver: nvidia-smi lists the devices",
        )
    return torch.device("cuda", target.device.index)


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
    """An interpreter of `module` that appends the duration of every node in `times_ms`."""
    import torch

    class Timed(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            start = time.perf_counter()
            result = super().run_node(n)
            _wait(device)
            if n in times_ms:
                times_ms[n].append((time.perf_counter() - start) * 1e3)
            return result

    return Timed(module)

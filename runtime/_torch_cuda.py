"""PyTorch on a GPU: which of the target's, in which arithmetic, on whose clock, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from edgepress.devices.cuda import Arithmetic, Cuda
from edgepress.errors import DeviceFailed
from edgepress.runtime._target import Target

if TYPE_CHECKING:
    import torch


def device_of(target: Target) -> torch.device:
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


@contextmanager
def computing(target: Target) -> Iterator[None]:
    """What is executed inside runs on the target's GPU, in its arithmetic; on a processor nothing changes. Raises
    DeviceFailed for what a GPU fails in, its memory above all."""
    import torch

    if not isinstance(target.device, Cuda):
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(torch.cuda.device(target.device.index))
        stack.enter_context(_arithmetic(target.device.arithmetic))
        try:
            yield
        except RuntimeError as error:  # PyTorch's errors of CUDA, and of its memory, are such
            raise DeviceFailed(
                f"PyTorch failed on the GPU: {str(error).strip().partition(chr(10))[0]}",
                where=target.place,
                hint="nvidia-smi shows whether the GPU is well and has memory left",
            ) from None


@contextmanager
def _arithmetic(arithmetic: Arithmetic) -> Iterator[None]:
    """PyTorch's switches belong to the whole process: borrowed. By itself it rounds convolutions to TF32, and products not."""
    import torch

    # cudnn's switches are made as it is imported, where its types do not show them.
    backends: Any = torch.backends
    switches = (backends.cuda.matmul, backends.cudnn.conv)
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if arithmetic == "tf32" else "ieee"
    try:
        with torch.autocast("cuda", torch.float16) if arithmetic == "float16" else nullcontext():
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


class Events:
    """A GPU's own clock around what it is given meanwhile: `elapsed_ms` when it has done that."""

    def __init__(self) -> None:
        import torch

        self._ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def begin(self) -> None:
        self._ends[0].record()

    def end(self) -> None:
        self._ends[1].record()

    def elapsed_ms(self) -> float:
        """Waits for the second."""
        self._ends[1].synchronize()
        return float(self._ends[0].elapsed_time(self._ends[1]))

"""This machine's NVIDIA GPU and its TensorRT, as the converter and the runner of engines both need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepress.errors import DeviceFailed, UnsupportedTarget

PACKAGES = ("tensorrt", "cuda")
"""TensorRT 10 or 11, and NVIDIA's own bindings of CUDA (cuda-bindings)."""
EXTRA = "tensorrt"

MOST_WORDS = 5
"""The last messages of TensorRT that an error repeats."""


def identity() -> dict[str, str]:
    """What an engine built here is bound to: `gpu`, `compute_capability` and `tensorrt`. The GPU is the first that
    CUDA_VISIBLE_DEVICES leaves; DeviceFailed where none answers."""
    import tensorrt
    from cuda.bindings import runtime as cuda

    found = called(cuda.cudaGetDeviceProperties(0))
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return {
        "gpu": name.rstrip("\0"),
        "compute_capability": f"{found.major}.{found.minor}",
        "tensorrt": str(tensorrt.__version__),
    }


def refuse_other(bound_to: Mapping[str, str], here: Mapping[str, str], *, where: str) -> None:
    """Raise UnsupportedTarget for an engine that was built for another GPU or by another TensorRT: TensorRT's plans
    are portable across neither."""
    other = [key for key in sorted({*bound_to, *here}) if bound_to.get(key) != here.get(key)]
    if other:
        differing = ", ".join(
            f"{key.replace('_', ' ')} {bound_to.get(key, 'unknown')} (here {here.get(key, 'unknown')})"
            for key in other
        )
        raise UnsupportedTarget(
            f"The engine was built for a different GPU or TensorRT version: {differing}.",
            where=where,
            hint="build it again on this machine: edgepress convert MODEL --to tensorrt",
        )


def called(returned: tuple[Any, ...]) -> Any:
    """What a CUDA function gives besides its error code; DeviceFailed where that is one."""
    from cuda.bindings import runtime as cuda

    error, *values = returned
    if error != cuda.cudaError_t.cudaSuccess:
        _, text = cuda.cudaGetErrorString(error)
        said = text.decode() if isinstance(text, bytes) else str(text)
        raise DeviceFailed(
            f"CUDA failed: {said}.",
            hint="nvidia-smi shows whether this machine has a GPU and a driver for it",
        )
    return values[0] if len(values) == 1 else values or None


def listener() -> Any:
    """A TensorRT logger that prints nothing and keeps warnings and errors in `messages`."""
    import tensorrt

    class Listener(tensorrt.ILogger):  # type: ignore[misc]  # the package is not installed where types are checked
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity <= tensorrt.ILogger.Severity.WARNING:
                self.messages.append(" ".join(msg.split()))

    return Listener()


def last_words(logger: Any) -> str:
    """The end of what TensorRT said, for an error's message."""
    return "; ".join(logger.messages[-MOST_WORDS:]) or "it gives no reason"

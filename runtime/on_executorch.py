"""Runs ExecuTorch files on ExecuTorch, with the XNNPACK delegate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import numpy as np

from edgepress.errors import BadInput
from edgepress.files import existing_file
from edgepress.runtime._executorch_trace import layer_times
from edgepress.runtime._runner import LayerTime, Runner

if TYPE_CHECKING:
    import torch

METHOD = "forward"

MARK = slice(4, 6)
"""Where a file's bytes say ET. ExecuTorch repeats those of any other file as text, and ends the process where they are none."""


class ExecuTorchRunner(Runner):
    """One loaded method, on `threads` threads.

    ExecuTorch has one thread pool for the whole process, and a loaded method keeps a pointer to it. A runner that finds
    the pool in another size therefore unloads the methods of all others, resizes it and loads its own again: once when
    its turn comes, for a benchmark off the clock.
    """

    formats: ClassVar[tuple[str, ...]] = ("pte",)
    requires: ClassVar[tuple[str, ...]] = ("executorch", "torch")
    portable: ClassVar[bool] = False
    extra: ClassVar[str] = "executorch"

    def open(self) -> None:
        self._inputs: list[torch.Tensor] = []
        self._results: list[torch.Tensor] = []
        self._method: Any = None
        _opened.add(self)
        self._load()

    def close(self) -> None:
        _opened.discard(self)
        self._method, self._inputs, self._results = None, [], []

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        import torch

        self._inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]

    def invoke(self) -> None:
        if self._method is None or _library()._threadpool_get_thread_count() != self.threads:
            self._load()
        try:
            self._results = self._method(self._inputs, clone_outputs=False)
        except RuntimeError as error:
            raise self._failed("ExecuTorch", error) from None

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(result.numpy().copy() for result in self._results)

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each of the delegate's operators and of those outside, on the inputs loaded last, in whole
        microseconds; the first run does not count."""
        with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
            trace = Path(folder, "trace.etdp")
            program, method = self._loaded(enable_etdump=True)
            for _ in range(runs + 1):
                method(self._inputs, clone_outputs=False)
            with _without_remarks():
                program.write_etdump_result_to_file(str(trace))
            return layer_times(trace, self.artifact.manifest.operators)

    def _load(self) -> None:
        with _without_remarks():
            if _library()._threadpool_get_thread_count() != self.threads:
                for runner in _opened:
                    # What a method gave lies in its memory.
                    runner._results = [result.clone() for result in runner._results]
                    runner._method = None
                _library()._unsafe_reset_threadpool(self.threads)
        _, self._method = self._loaded()

    def _loaded(self, **options: bool) -> tuple[Any, Any]:
        """The program and its method, which keeps it alive."""
        path = existing_file(self.artifact.path, "ExecuTorch file")
        library = _library()
        check = library.Verification.InternalConsistency
        try:
            with _without_remarks():
                with path.open("rb") as file:
                    if file.read(MARK.stop)[MARK] != b"ET":
                        raise RuntimeError("it does not begin as one")
                program = library._load_program(str(path), program_verification=check, **options)
                return program, program.load_method(METHOD)
        except RuntimeError as error:
            raise BadInput(
                f"ExecuTorch does not load this file: {error}.",
                where=str(path.absolute()),
                hint="convert it again; the file may be cut off, or hold an operator that this ExecuTorch lacks",
            ) from None


_opened: WeakSet[ExecuTorchRunner] = WeakSet()
"""Whose methods have to be unloaded before the thread pool changes."""


def _library() -> Any:
    """The part of ExecuTorch that runs: what stands around it takes ten seconds to import, for lowering."""
    import torch  # noqa: F401  the library is linked with PyTorch's, which this loads
    from executorch.extension.pybindings import _C

    return _C


@contextmanager
def _without_remarks() -> Iterator[None]:
    """ExecuTorch writes to Python's standard error what it does and why it fails: not into our own messages."""
    with redirect_stderr(StringIO()):
        yield

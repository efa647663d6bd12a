"""ONNX Runtime, on the CPU or on a CUDA device."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress import plugins
from edgepress.devices.cpu import Cpu
from edgepress.devices.cuda import Cuda
from edgepress.errors import BadInput, DeviceFailed, UnsupportedTarget
from edgepress.layer_output import LayerOutput
from edgepress.runtime._onnx_fusion import fused_layers, nodes
from edgepress.runtime._runner import LayerTime, Runner
from edgepress.runtime._target import Target

if TYPE_CHECKING:
    from edgepress.runtime._onnx_taps import Tap

PROFILED_NODE = "_kernel_time"
"""The ending of the profiler's events that time one node."""
OPTIMISED = "optimised.onnx"
PROCESSOR, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeRunner(Runner):
    """One session with every graph optimisation; inputs and outputs are bound before the run, where they are computed:
    on a GPU, copies are outside of `invoke`, which waits until the GPU is done."""

    formats = ("onnx",)
    requires = ("onnxruntime",)
    devices = (Cpu, Cuda)

    def open(self) -> None:
        self._session = self._new_session(str(self.artifact.path))
        self._tapped: tuple[Any, tuple[Tap, ...]] | None = None
        self._check_ends(len(self._session.get_inputs()), len(self._session.get_outputs()))
        self._binding = self._session.io_binding()

    def close(self) -> None:
        del self._binding, self._session, self._tapped

    def load_inputs(self, arrays: Sequence[np.ndarray]) -> None:
        # A bound array is read in place: the session keeps no reference, so we do.
        self._inputs = [np.ascontiguousarray(array) for array in arrays]
        for node, array in zip(self._session.get_inputs(), self._inputs, strict=True):
            self._bind(node.name, array)
        for node in self._session.get_outputs():
            self._binding.bind_output(node.name, *self._place())

    def _bind(self, name: str, array: np.ndarray) -> None:
        if not isinstance(self.target.device, Cuda):
            self._binding.bind_cpu_input(name, array)
            return
        import onnxruntime

        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, *self._place())
        self._binding.bind_ortvalue_input(name, value)

    def _place(self) -> tuple[str, int]:
        device = self.target.device
        return ("cuda", device.index) if isinstance(device, Cuda) else ("cpu", 0)

    def invoke(self) -> None:
        self._executed(self._run_bound)

    def _run_bound(self) -> None:
        self._session.run_with_iobinding(self._binding)
        if isinstance(self.target.device, Cuda):
            self._binding.synchronize_outputs()

    def read_outputs(self) -> tuple[np.ndarray, ...]:
        return tuple(self._binding.copy_outputs_to_cpu())

    def read_layers(self, arrays: Sequence[np.ndarray]) -> tuple[LayerOutput, ...]:
        session, taps = self._tapped = self._tapped or self._tap()
        names = [tap.tensor for tap in taps]
        feeds = {node.name: array for node, array in zip(session.get_inputs(), arrays, strict=True)}
        values = dict(zip(names, self._executed(lambda: session.run(names, feeds)), strict=True))
        return tuple(
            LayerOutput(tap.layer, tap.type, values[tap.tensor])
            for tap in taps
            if np.issubdtype(values[tap.tensor].dtype, np.floating) and values[tap.tensor].ndim
        )

    def _tap(self) -> tuple[Any, tuple[Tap, ...]]:
        plugins.require("onnx", extra="")
        from edgepress.runtime._onnx_taps import tapped

        content, taps = tapped(self.artifact.path)
        return self._new_session(content), taps

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of each node of the optimised graph, on the inputs loaded last; the first run does not count. Of a GPU none:
        there the profiler times how long it takes to hand over the work."""
        if isinstance(self.target.device, Cuda):
            return ()
        with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
            folder = Path(name)
            session = self._new_session(str(self.artifact.path), profile_into=folder)
            feeds = {node.name: array for node, array in zip(session.get_inputs(), self._inputs, strict=True)}
            for _ in range(runs + 1):
                session.run(None, feeds)
            events = json.loads(Path(session.end_profiling()).read_text())
            executed = nodes((folder / OPTIMISED).read_bytes())
        return _layer_times(events, fused_layers(nodes(self.artifact.path.read_bytes()), executed))

    def _executed(self, execute: Callable[[], Any]) -> Any:
        try:
            return execute()
        except Exception as error:  # the errors of ONNX Runtime share no base class
            raise self._failed("ONNX Runtime", error) from None

    def _new_session(self, source: str | bytes, profile_into: Path | None = None) -> Any:
        """A session of the file at a path, or of a file's content; one that profiles leaves its optimised graph and, at
        its end, the events in a folder."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        # Threads spin for work during a run, as in production, but not after it: another runner's turn comes then.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile_into is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_into / "profile")
            options.optimized_model_filepath = str(profile_into / OPTIMISED)
        providers = _providers(self.target)
        try:
            session = onnxruntime.InferenceSession(source, options, providers=providers)
        except Exception as error:  # the errors of ONNX Runtime share no base class
            raise BadInput(
                f"ONNX Runtime {onnxruntime.__version__} refuses the file: {error}",
                where=str(self.artifact.path),
                hint="convert it again; --to onnx has an option `opset`",
            ) from None
        _refuse_other_place(session, self.target)
        return session


def _providers(target: Target) -> list[Any]:
    """What executes the graph, the first choice first; DeviceFailed for a GPU that this ONNX Runtime cannot use.

    Products of float32 matrices are rounded to TF32 only where the target asks for it; UnsupportedTarget for halves.
    """
    import onnxruntime

    device = target.device
    if not isinstance(device, Cuda):
        return [PROCESSOR]
    if device.arithmetic == "float16":
        raise UnsupportedTarget(
            "ONNX Runtime computes in the types that the file has.",
            where=target.place,
            hint=f"cuda:{device.index}/tf32, or --to onnx with weights=float16",
        )
    if GPU not in onnxruntime.get_available_providers():
        raise DeviceFailed(
            f"ONNX Runtime {onnxruntime.__version__} is built without CUDA.",
            where=target.place,
            hint="pip install onnxruntime-gpu in place of onnxruntime",
        )
    return [(GPU, {"device_id": device.index, "use_tf32": int(device.arithmetic == "tf32")}), PROCESSOR]


def _refuse_other_place(session: Any, target: Target) -> None:
    """Raise DeviceFailed where a GPU was asked for and ONNX Runtime took the processor: it says that in its log alone."""
    if isinstance(target.device, Cuda) and GPU not in session.get_providers():
        raise DeviceFailed(
            "ONNX Runtime cannot use the GPU, and would run on the processor.",
            where=target.place,
            hint="it needs CUDA and cuDNN in the versions that it is built for; nvidia-smi lists the devices",
        )


def _layer_times(
    events: Sequence[dict[str, Any]], layers: Mapping[str, tuple[str, ...]]
) -> tuple[LayerTime, ...]:
    """The median of each node's times without its first, in execution order, from the profiler's events."""
    samples_us: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(PROFILED_NODE):
            key = (event["name"].removesuffix(PROFILED_NODE), event["args"]["op_name"])
            samples_us.setdefault(key, []).append(event["dur"])
    return tuple(
        LayerTime(name, type, statistics.median(durations[1:]) / 1e3, layers.get(name, ()))
        for (name, type), durations in samples_us.items()
        if len(durations) > 1
    )

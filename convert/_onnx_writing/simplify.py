"""Folds constants and removes idle nodes with onnxsim, and keeps the result only where ONNX Runtime proves that nothing
changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from edgepress import isolation
from edgepress.signature import Signature

RELATIVE_LIMIT = 1e-5
"""Folding reorders float additions at most: some units in the last place of the largest output."""

SCRIPT = Path(__file__).with_name("run_onnxsim.py")


def simplified(
    model: onnx.ModelProto, signature: Signature, script: Path = SCRIPT
) -> tuple[onnx.ModelProto, str]:
    """The simplified model and an empty text; or `model` as it was, and why. The `script` runs in its own process."""
    result, why = _run(model, script)
    if result is None:
        return model, f"not simplified: onnxsim failed: {why}"
    if difference := _difference(model, result, signature):
        return model, f"not simplified: {difference}"
    return result, ""


def _run(model: onnx.ModelProto, script: Path) -> tuple[onnx.ModelProto | None, str]:
    """What the script makes of the model; None, and how it ended, where it makes nothing."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        source, target = Path(name, "model.onnx"), Path(name, "simplified.onnx")
        onnx.save(model, source)
        finished = isolation.run_script(script, source, target, folder=Path(name))
        if not finished.succeeded or not target.is_file():
            return None, finished.said
        try:
            return onnx.load(target), ""
        except Exception as error:  # protobuf's errors share no base class
            return None, f"it wrote no model ({type(error).__name__})"


def _difference(before: onnx.ModelProto, after: onnx.ModelProto, signature: Signature) -> str:
    """In what the two differ on random inputs; empty where in nothing."""
    inputs = signature.example(batch=2, seed=0)
    wanted = _outputs(before, inputs)
    try:
        found = _outputs(after, inputs)
    except Exception as error:  # the errors of ONNX Runtime share no base class
        return f"ONNX Runtime does not run the result ({' '.join(str(error).split())[:200]})"
    if len(found) != len(wanted):
        return f"it would have {len(found)} outputs, not {len(wanted)}"
    for want, have, spec in zip(wanted, found, signature.outputs, strict=True):
        if want.shape != have.shape:
            return f"the output {spec.name} would have the shape {have.shape}, not {want.shape}"
        difference = float(np.abs(want - have).max(initial=0) / max(float(np.abs(want).max(initial=0)), 1e-9))
        if not difference <= RELATIVE_LIMIT:  # NaN is no agreement
            return (
                f"the output {spec.name} would change by {difference:.1e} of its largest value "
                f"(limit {RELATIVE_LIMIT:.0e})"
            )
    return ""


def _outputs(model: onnx.ModelProto, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """As the graph says: without ONNX Runtime's own optimisations, which could hide a difference."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_inputs()]
    return [np.asarray(output) for output in session.run(None, dict(zip(names, inputs, strict=True)))]

"""Folds constants and removes idle nodes with onnxsim, and proves on ONNX Runtime that nothing changed."""

from __future__ import annotations

import numpy as np
import onnx

from edgepress.errors import UnsupportedModel, VerificationFailed
from edgepress.plugins import require
from edgepress.signature import Signature

RELATIVE_LIMIT = 1e-5
"""Folding reorders float additions at most: some units in the last place of the largest output."""


def simplified(model: onnx.ModelProto, signature: Signature) -> onnx.ModelProto:
    """The simplified model; VerificationFailed when its outputs differ from `model`'s on random inputs."""
    require("onnxsim", "onnxruntime", extra="")
    import onnxsim

    result: onnx.ModelProto
    result, accepted = onnxsim.simplify(model)
    if not accepted:
        raise UnsupportedModel("onnxsim could not simplify this network.", hint="convert with simplify=false")
    inputs = signature.example(batch=2, seed=0)
    for before, after, spec in zip(
        _outputs(model, inputs), _outputs(result, inputs), signature.outputs, strict=True
    ):
        difference = float(np.abs(before - after).max() / max(float(np.abs(before).max()), 1e-9))
        if not difference <= RELATIVE_LIMIT:  # NaN is no agreement
            raise VerificationFailed(
                f"Simplifying changes an output by {difference:.1e} of its largest value (limit {RELATIVE_LIMIT:.0e}).",
                where=f"output {spec.name}",
                hint="convert with simplify=false",
            )
    return result


def _outputs(model: onnx.ModelProto, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_inputs()]
    return [np.asarray(output) for output in session.run(None, dict(zip(names, inputs, strict=True)))]

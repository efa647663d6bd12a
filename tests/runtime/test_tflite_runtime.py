"""Our TFLite files on the interpreter that small boards have had since 2023, against LiteRT's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress import compress, convert, runtime
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.environments.tflite_runtime import ENVIRONMENT
from edgepress.models.mobilenet_v2 import mobilenet_v2
from edgepress.models.shufflenet import shufflenet_v2
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.worker import Worker

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the tflite extra")
pytestmark = [
    pytest.mark.tflite,
    pytest.mark.slow,
    pytest.mark.skipif(
        not ENVIRONMENT.is_made(), reason="needs edgepress doctor --make tflite_runtime (Python up to 3.11)"
    ),
]

SESSION = Path(__file__).parents[1] / "tflite_runtime_session.py"
SIZE = 64


def noise() -> ArrayData:
    """Standard normal pictures, without labels."""
    return ArrayData(np.random.default_rng(0).standard_normal((16, 3, SIZE, SIZE)).astype(np.float32))


def settled(module: nn.Module) -> Program:
    """With batch-norm statistics of random pictures, so that no layer's values fade away."""
    module.train()
    with torch.no_grad():
        for _ in range(5):
            module(torch.randn(8, 3, SIZE, SIZE))
    return Program.capture(module.eval(), (torch.zeros(2, 3, SIZE, SIZE),))


def on_litert(path: Path, array: np.ndarray) -> np.ndarray:
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], array)
    interpreter.invoke()
    result: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("network", [mobilenet_v2, shufflenet_v2])
def test_files_run_on_the_runtime_of_small_boards(
    network: Callable[[], nn.Module], precision: str, tmp_path: Path
) -> None:
    program = settled(network())
    if precision == "int8":
        program = compress.apply(program, Recipe((QuantizeStatic(samples=16),)), noise())
    path = convert.to(program, "tflite", tmp_path / "model.tflite").path
    array = np.random.default_rng(1).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
    worker = Worker(SESSION, path, python=ENVIRONMENT.python, folder=tmp_path)
    try:
        compared = runtime.compare(
            lambda given: (on_litert(path, given),), lambda given: worker.call("run", given), [(array,)]
        )
    finally:
        worker.close()
    # Sums in another order; in int8, the other release rounds to the other side here and there.
    assert compared.sqnr_db > (100 if precision == "float32" else runtime.limit_db("int8", "int8"))

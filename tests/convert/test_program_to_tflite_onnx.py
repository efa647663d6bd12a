"""Every operator that is read from ONNX, on ONNX's own cases, through the TFLite writer and LiteRT: what is refused is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_cases
import pytest
import torch
from torch.utils import _pytree

from edgepress import convert, runtime
from edgepress.convert._onnx_reading.network import Network
from edgepress.errors import UnsupportedModel
from edgepress.program import Program, _signature

pytestmark = [pytest.mark.tflite, pytest.mark.slow]
pytest.importorskip("ai_edge_litert")

NARROW = ("int8", "int16", "uint8")
"""Integers without a scale for which TFLite has next to no arithmetic: a network that looks them up casts them before."""
STORED = {
    "Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization",
    "PRelu", "LSTM", "GRU",
}  # fmt: skip
"""Their weights are part of the network, as they are in real files."""
REFUSED = {
    "test_einsum_batch_diagonal": "TFLite has no diagonal, and PyTorch's own way to it is a view of strides",
    "test_quantizelinear": "a file gives real numbers, or all of its outputs in int8",
    "test_dequantizelinear": "a file takes real numbers, or all of its inputs in int8",
    "test_reshape_allowzero_reordered": "LiteRT takes no tensor without entries",
    "test_reduce_log_sum_exp_empty_set": "LiteRT takes no tensor without entries",
    "test_tril_zero": "LiteRT takes no tensor without entries",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("type", onnx_cases.types())
def test_each_operator_computes_the_same_in_a_file(type: str, tmp_path: Path) -> None:
    for case in onnx_cases.ordinary(type):
        try:
            model, arrays, _ = onnx_cases.read(case, tmp_path, stored=type in STORED)
            network = Network(model, None).float().eval()
        except UnsupportedModel:
            continue  # the reader's own tests say of which
        if not model.operations or any(array.dtype.name in NARROW for array in arrays):
            continue
        inputs = tuple(_single(torch.from_numpy(array)) for array in arrays)
        with torch.no_grad():
            try:
                expected = _pytree.tree_leaves(network(*inputs))
            except UnsupportedModel:
                continue
            exported = torch.export.export(network, inputs, strict=False)
        program = Program(exported, _signature(exported))  # its batch is not free: these cases have none
        if case.name in REFUSED:
            with pytest.raises(UnsupportedModel):
                convert.to(program, "tflite", tmp_path / "case.tflite")
            continue
        artifact = convert.to(program, "tflite", tmp_path / "case.tflite")
        with runtime.open(artifact) as runner:
            runner.load_inputs([tensor.numpy() for tensor in inputs])
            runner.invoke()
            found = runner.read_outputs()
        for have, tensor in zip(found, expected, strict=True):
            want = tensor.numpy()
            assert have.shape == want.shape, case.name
            assert have.dtype == want.dtype, case.name
            # Some numbers are products of hundreds, and XNNPACK's exp, tanh and erf are good to about 1e-5.
            assert np.allclose(have.astype(float), want.astype(float), 1e-3, 1e-5, equal_nan=True), case.name


def _single(tensor: torch.Tensor) -> torch.Tensor:
    """Every real number in the one precision that files compute in."""
    return tensor.float() if tensor.is_floating_point() else tensor

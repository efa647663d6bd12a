"""Average pools with windows that reach beyond the input: what is divided by there, in the graph and on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_networks
import torch
from torch import nn

from edgepress import compress, convert, runtime
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.convert._overhang import without_overhang
from edgepress.program import Program
from edgepress.recipe import Recipe


def pooled(size: tuple[int, int], **options: Any) -> Program:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.AvgPool2d(ceil_mode=True, **options), nn.Flatten()
    )
    return Program.capture(network, (torch.zeros(2, 3, *size),))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": (2, 3), "stride": (3, 2), "divisor_override": 5},
        {"kernel_size": 5},
    ],
)
def test_a_spelt_out_pool_gives_the_same(options: dict[str, Any]) -> None:
    program = pooled((16, 12), **options)
    inputs = program.signature.example(3)
    spelt = without_overhang(program)
    assert spelt is not program
    # The same sums, scaled twice.
    np.testing.assert_allclose(spelt.run(*inputs)[0], program.run(*inputs)[0], rtol=1e-5, atol=1e-6)


def test_a_pool_that_fits_stays() -> None:
    program = pooled((15, 15), kernel_size=3, stride=2)
    assert without_overhang(program) is program


def test_int8_divides_by_what_lies_inside(tmp_path: Path) -> None:
    data = tiny_networks.Patches(64)
    program = compress.apply(
        pooled((16, 16), kernel_size=3, stride=2), Recipe((QuantizeStatic(samples=64),)), data
    )
    inputs = next(data.batches("evaluate", None)).inputs
    with runtime.open(convert.to(program, "onnx", tmp_path / "model.onnx")) as runner:
        comparison = runtime.compare(program.run, runner.run, [inputs])
    # 16 dB where ONNX Runtime's int8 kernel divides by the whole window.
    assert comparison.sqnr_db > 40

"""Attention under a mask, of truth values or of what is added, in the formats that say it with a softmax: a row that sees nothing gives zeros."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgepress import convert, runtime
from edgepress.errors import BackendMissing
from edgepress.program import Program


class Masked(nn.Module):
    """Attention of every place to those that a mask shows it: one that is given, then a stored one."""

    def __init__(self, *, is_added: bool) -> None:
        super().__init__()
        self.layer, self.is_added = nn.Linear(8, 16), is_added
        self.stored: torch.Tensor
        shown = torch.ones(5, 5).tril(-1)  # the first place sees nothing
        self.register_buffer("stored", shown.log() if is_added else shown > 0)

    def forward(self, places: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heads = self.layer(places).unflatten(2, (2, 8)).transpose(1, 2)
        shown = mask.log() if self.is_added else mask > 0
        attention = nn.functional.scaled_dot_product_attention
        given = attention(heads, heads * 2, heads - 1, attn_mask=shown[:, None])
        return given, attention(heads, heads * 2, heads - 1, attn_mask=self.stored)


FORMATS = ["onnx", "tflite", pytest.param("mnn", marks=pytest.mark.mnn)]


@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_a_place_that_a_mask_shows_nothing_gives_zeros(format: str, is_added: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    places, mask = torch.randn(2, 5, 8), torch.ones(2, 5, 5)
    mask[0, 1] = mask[1, 4] = mask[1, :, 2] = 0
    program = Program.capture(Masked(is_added=is_added), (places, mask))
    inputs = (places.numpy(), mask.numpy())
    try:
        artifact = convert.to(program, format, tmp_path / f"model.{format}")
        runner = runtime.open(artifact)
    except BackendMissing as error:
        pytest.skip(error.what)
    with runner:
        given, stored = runner.run(*inputs)
        comparison = runtime.compare(program.run, runner.run, [inputs])
    assert not given[0, :, 1].any()
    assert not given[1, :, 4].any()
    assert not stored[:, :, 0].any()
    assert comparison.sqnr_db > 80  # float sums in another order

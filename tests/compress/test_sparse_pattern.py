"""Patterns: their spelling, which weights they fit, and where their zeros are."""

from __future__ import annotations

import pytest
import torch
from pydantic_core import PydanticCustomError

from edgepress.compress._sparse.layers import Layer
from edgepress.compress._sparse.pattern import Block, NofM, parse

ROWS = torch.rand(8, 12, 9)


def test_spelling() -> None:
    assert parse("unstructured") == Block(1, 1)
    assert parse("2:4") == NofM(2, 4)
    assert parse("4x1") == Block(4, 1)
    assert parse("16x2") == Block(16, 2)


@pytest.mark.parametrize("text", ["", "2;4", "4:4", "4:2", "0:4", "2:", "x4", "4x", "0x1", "2:4:8", "-2:4", "dense", "99999x1"])  # fmt: skip
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="N:M with N below M"):
        parse(text)


def test_which_weights_fit() -> None:
    assert parse("unstructured").misfit(ROWS) == ""
    assert parse("1:4").misfit(ROWS) == ""
    assert parse("4x3").misfit(ROWS) == ""
    assert parse("2:8").misfit(ROWS) == "its 12 input channels are no multiple of 8"
    assert parse("1x5").misfit(ROWS) == "its 12 input channels are no multiple of 5"
    assert parse("3x1").misfit(ROWS) == "its 8 output channels are no multiple of 3"


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (1, 4), (3, 4), (1, 2), (4, 6)])
def test_n_of_m_keeps_the_most_salient_of_each_group_of_input_channels(kept: int, group: int) -> None:
    zeros = NofM(kept, group).zeros(ROWS, NofM(kept, group).sparsity)
    assert zeros.shape == ROWS.shape
    for output in range(8):
        for start in range(0, 12, group):
            for position in range(9):
                part = slice(start, start + group)
                values, zero = ROWS[output, part, position], zeros[output, part, position]
                assert zero.sum() == group - kept
                assert values[zero].max() < values[~zero].min()


def test_n_of_m_on_the_way_takes_as_many_of_each_group_as_the_sparsity_allows() -> None:
    pattern = NofM(1, 4)
    counts = [
        int(pattern.zeros(ROWS, sparsity).sum()) / ROWS.numel() for sparsity in (0, 0.2, 0.3, 0.6, 0.75, 1)
    ]
    assert counts == [0, 0, 0.25, 0.5, 0.75, 0.75]


def test_blocks_there_and_back() -> None:
    block = Block(4, 3)
    scores = block.unit_scores(ROWS)
    assert scores.shape == (2, 4, 9)
    assert scores[1, 2, 5] == pytest.approx(float(ROWS[4:8, 6:9, 5].mean()))
    assert block.expand(scores).shape == ROWS.shape
    assert block.expand(scores)[4:8, 6:9, 5].unique().numel() == 1
    assert block.unit_scores(block.expand(scores)).allclose(scores)


@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_a_transposed_convolution_are_its_outputs(groups: int) -> None:
    """One weight of the layer reaches exactly the output channel of its row, from the input channel of its column."""
    torch.manual_seed(0)
    convolution = torch.nn.ConvTranspose2d(8, 6, 3, groups=groups, bias=False)
    layer = Layer("up", "conv_transpose2d", "up.weight", inputs_first=True, groups=groups)
    weight = convolution.weight.detach().clone()
    rows = layer.rows(weight)
    assert rows.shape == (6, 8 // groups, 9)
    assert layer.from_rows(rows, weight.shape).equal(weight)
    for output in range(6):
        for column in range(8 // groups):
            only = torch.zeros_like(rows)
            only[output, column] = rows[output, column]
            channel = column + output // (6 // groups) * (8 // groups)
            picture = torch.zeros(1, 8, 4, 4)
            picture[:, channel] = 1
            with torch.no_grad():
                convolution.weight.copy_(layer.from_rows(only, weight.shape))
                reached = convolution(picture)[0].abs().sum((1, 2))
            assert reached.nonzero().flatten().tolist() == [output]

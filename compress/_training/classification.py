"""Says what is wrong with labels or scores before PyTorch trips over them."""

from __future__ import annotations

import torch

from edgepress.errors import BadInput, UnsupportedModel


def check_scores(scores: torch.Tensor, labels: torch.Tensor, data_name: str) -> None:
    """Raise UnsupportedModel unless `scores` are (N, classes), BadInput for `labels` (N,) that have no score."""
    if scores.ndim != 2:
        raise UnsupportedModel(
            f"Labels need scores of samples x classes, but the first output is {tuple(scores.shape)}.",
            hint="flatten the output in the network's forward",
        )
    wrong = labels[(labels < 0) | (labels >= scores.shape[1])]
    if len(wrong):
        raise BadInput(
            f"The label {int(wrong[0])} has no score: the network scores {scores.shape[1]} classes.",
            where=f"data {data_name}",
            hint="use the data the network was trained for",
        )


def first_output(outputs: torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]) -> torch.Tensor:
    """What is trained and judged of a network with several outputs."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]

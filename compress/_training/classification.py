"""Says what is wrong with labels or scores before PyTorch trips over them."""

from __future__ import annotations

import torch

from edgepress.data import NO_CLASS
from edgepress.errors import BadInput, UnsupportedModel


def check_scores(scores: torch.Tensor, labels: torch.Tensor, data_name: str) -> None:
    """Raise UnsupportedModel unless `scores` are (N, classes), or (N, classes, height, width) for labels of pixels;
    BadInput for `labels` (N,) or (N, height, width) that have no score, and for boxes, which no stage trains on."""
    if labels.is_floating_point():
        raise BadInput(
            "The labels are bounding boxes, and no stage trains on these.",
            where=f"data {data_name}",
            hint="prune and quantize it without training, or train it in PyTorch and capture it again",
        )
    if scores.ndim not in (2, 4) or scores.shape[2:] != labels.shape[1:]:
        raise UnsupportedModel(
            f"Labels need scores of samples x classes, but the first output is {tuple(scores.shape)}."
            if labels.ndim == 1
            else f"Labels of pixels need scores for each of {tuple(labels.shape[1:])}, but the first output is "
            f"{tuple(scores.shape)}.",
            hint="flatten the output in the network's forward"
            if labels.ndim == 1
            else "give labels as large as the network's output",
        )
    is_wrong = (labels < 0) | (labels >= scores.shape[1])
    wrong = labels[is_wrong & (labels != NO_CLASS)] if labels.ndim == 3 else labels[is_wrong]
    if len(wrong):
        raise BadInput(
            f"The label {int(wrong[0])} has no score: the network scores {scores.shape[1]} classes.",
            where=f"data {data_name}",
            hint="use the data the network was trained for",
        )


def first_output(outputs: torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]) -> torch.Tensor:
    """What is trained and judged of a network with several outputs."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean over all samples, or over all pixels that have a class."""
    ignored = NO_CLASS if labels.ndim == 3 else -100
    return torch.nn.functional.cross_entropy(scores, labels, ignore_index=ignored)

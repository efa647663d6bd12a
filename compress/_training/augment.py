"""Random changes of training pictures that leave their class as it is."""

from __future__ import annotations

import torch
from torch.nn import functional


def augment(
    inputs: tuple[torch.Tensor, ...], generator: torch.Generator, *, random_crop: int, flip: bool
) -> tuple[torch.Tensor, ...]:
    """Shift each picture (N, C, H, W) by up to `random_crop` pixels, zeros moving in, and mirror every second one."""
    return tuple(
        _mirrored(_shifted(tensor, random_crop, generator), flip, generator) if tensor.ndim == 4 else tensor
        for tensor in inputs
    )


def _shifted(pictures: torch.Tensor, reach: int, generator: torch.Generator) -> torch.Tensor:
    if not reach:
        return pictures
    count, _, height, width = pictures.shape
    padded = functional.pad(pictures, (reach,) * 4)
    top = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * reach + 1, (count, 1), generator=generator)
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    samples = torch.arange(count)[:, None, None, None]
    channels = torch.arange(pictures.shape[1])[None, :, None, None]
    return padded[samples, channels, rows, columns]


def _mirrored(pictures: torch.Tensor, flip: bool, generator: torch.Generator) -> torch.Tensor:
    if not flip:
        return pictures
    chosen = torch.rand(len(pictures), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], pictures.flip(-1), pictures)

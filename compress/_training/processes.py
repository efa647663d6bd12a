"""The processes that train one network together: one, unless `accelerate launch` has started several."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import torch

from edgepress import plugins
from edgepress.trainable import Trainable

Value = TypeVar("Value")

LAUNCHED = "ACCELERATE_MIXED_PRECISION"
"""What `accelerate launch` puts into the environment of every process it starts, a single one too."""


class Processes:
    """This process alone, on the CPU."""

    count = 1
    rank = 0
    device = torch.device("cpu")

    def forward(self, module: Trainable) -> torch.nn.Module:
        """What to call in place of `module`, whose weights it trains."""
        return module

    def share(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch of all, on its device."""
        return tensor

    def part_of_mean(self, loss: torch.Tensor, share: int, whole: int) -> torch.Tensor:
        """`loss`, a mean over `share` of `whole` samples, such that the mean over the processes is that over samples."""
        return loss

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def total(self, values: Iterable[float]) -> list[float]:
        """Each number summed over the processes."""
        return list(values)

    def from_first(self, value: Value) -> Value:
        """What the first process has of it, in all of them."""
        return value

    def from_each(self, value: Value) -> list[Value]:
        """What every process has of it, by their ranks, in all of them."""
        return [value]

    def agree(self, module: Trainable) -> None:
        """Give every process the same running statistics, the mean of theirs."""


class Launched(Processes):
    """One of the processes of `accelerate launch`, on the device that it was given. Gradients are averaged over all.

    Each process reads whole batches and takes its part of them, so that what is learnt depends on the batch size
    and not on the number of processes. Batch norms see their own process's part alone.
    """

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        plugins.require("accelerate", extra="accelerate")
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # A loss on the first of several outputs leaves weights without a gradient.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # Without being told, Accelerate takes processes without a GPU for one each.
        on_cpu = not torch.accelerator.is_available()
        self._accelerator: Any = Accelerator(cpu=on_cpu, kwargs_handlers=[unused])
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        self.device = self._accelerator.device

    def forward(self, module: Trainable) -> torch.nn.Module:
        prepared: torch.nn.Module = self._accelerator.prepare_model(module)
        return prepared

    def share(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[self.rank :: self.count].to(self.device)

    def part_of_mean(self, loss: torch.Tensor, share: int, whole: int) -> torch.Tensor:
        return loss * (share * self.count / whole)

    def backward(self, loss: torch.Tensor) -> None:
        self._accelerator.backward(loss)

    def total(self, values: Iterable[float]) -> list[float]:
        numbers = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        summed: list[float] = self._accelerator.reduce(numbers, reduction="sum").tolist()
        return summed

    def from_first(self, value: Value) -> Value:
        from accelerate.utils import broadcast_object_list

        return cast(Value, broadcast_object_list([value])[0])

    def from_each(self, value: Value) -> list[Value]:
        from accelerate.utils import gather_object

        return cast(list[Value], gather_object([value]))

    def agree(self, module: Trainable) -> None:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(self._accelerator.reduce(buffer, reduction="mean"))


def current() -> Processes:
    """The processes that this one belongs to."""
    return Launched() if LAUNCHED in os.environ else Processes()

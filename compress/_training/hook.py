"""What a method does inside the one training loop besides its loss: add a penalty, edit gradients and weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgepress.trainable import Trainable


class TrainingHook:
    """Called by `train` at the moments below; a method that is not overridden does nothing.

    `module.named_parameters()` has the user's names. Steps and epochs count from 1.
    """

    prunes: frozenset[str] = frozenset()
    """The weights, by dotted name, whose zeros the hook chooses. In all others, what an earlier stage pruned stays zero."""

    def begin(self, module: Trainable, steps: int) -> None:
        """Once, before the first of at most `steps` optimizer steps."""

    def penalty(self, module: Trainable) -> torch.Tensor | None:
        """A scalar to add to the loss of each training batch."""
        return None

    def before_step(self, module: Trainable, step: int) -> None:
        """The gradients of the batch are there (`parameter.grad`), the weights are not changed yet."""

    def after_step(self, module: Trainable, step: int) -> None:
        """The optimizer has changed the weights."""

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        """`module` is what the epoch is judged by and may leave as the result: the trained one, or its average."""

    def may_end(self) -> bool:
        """Whether the epoch just done may be the result: not while a schedule is still on its way."""
        return True


class Hooks(TrainingHook):
    """Several hooks as one, each called in turn."""

    def __init__(self, hooks: Sequence[TrainingHook]) -> None:
        self._hooks = tuple(hooks)

    def begin(self, module: Trainable, steps: int) -> None:
        for hook in self._hooks:
            hook.begin(module, steps)

    def penalty(self, module: Trainable) -> torch.Tensor | None:
        terms = [term for hook in self._hooks if (term := hook.penalty(module)) is not None]
        return torch.stack(terms).sum() if terms else None

    def before_step(self, module: Trainable, step: int) -> None:
        for hook in self._hooks:
            hook.before_step(module, step)

    def after_step(self, module: Trainable, step: int) -> None:
        for hook in self._hooks:
            hook.after_step(module, step)

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        for hook in self._hooks:
            hook.after_epoch(module, epoch)

    def may_end(self) -> bool:
        return all(hook.may_end() for hook in self._hooks)

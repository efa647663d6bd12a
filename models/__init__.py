"""The zoo: one family a file, one function a model, and a card on each.

A model is listed as soon as a file of this folder holds a function with a card (see `_card.py`). Here
are the listing and `load`, which turns a MODEL text into a captured Program.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from edgepress import plugins
from edgepress.artifact import PROGRAM_FORMATS
from edgepress.errors import UnknownName
from edgepress.models import _load, _outline
from edgepress.models._card import Card as Card
from edgepress.models._card import Task
from edgepress.models._outline import Part as Part
from edgepress.preprocess import Preprocess
from edgepress.program import Program

Builder = Callable[..., torch.nn.Module]


def names(task: Task | None = None) -> tuple[str, ...]:
    """Every model there is, or those for one task, sorted."""
    return tuple(name for name in sorted(_builders()) if task in (None, card_of(name).task))


def find(name: str) -> Builder:
    """The function that builds the model `name`; UnknownName, with the nearest, when there is none."""
    if name not in _builders():
        raise UnknownName("model", name, names())
    return _builders()[name]


def card_of(name: str) -> Card:
    """What is known about the model `name`; UnknownName when there is none."""
    return find(name).card  # type: ignore[attr-defined,no-any-return]  # what the decorator `card` has put there


def family_of(name: str) -> str:
    """The family that the model `name` belongs to: the file it stands in."""
    return find(name).__module__.rpartition(".")[2]


def outline(name: str) -> tuple[Part, ...]:
    """The parts of the model `name`, at its card's input; built without values, which takes no memory."""
    card = card_of(name)
    dtypes = [getattr(torch, spec.dtype) for spec in card.inputs] or [torch.float32]
    with torch.device("meta"):
        inputs = [
            torch.zeros(1, *shape, dtype=dtype)
            for shape, dtype in zip(card.input_shapes(), dtypes, strict=True)
        ]
        return _outline.outline(find(name)().eval(), inputs)


def load(
    text: str,
    *,
    weights: str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    options: Mapping[str, Any] | None = None,
    preprocess: Preprocess | None = None,
) -> Program:
    """The network that `text` names: a `.pt2` or `.epz`, a model of the zoo, or `path/to/file.py:factory`.

    `weights` is a file of them; `input_shape` is that of one sample, 3 x 224 x 224 for one; `options` are
    keyword arguments of the model function or the factory; `preprocess` replaces the card's. Raises BadInput
    for a missing, broken or unfit file, UnknownName for an unknown model or option, BadOption for a value that
    an option does not take, UnsupportedModel for a network that PyTorch cannot export.
    """
    request = _load.Request(
        weights=weights, input_shape=input_shape, options=options or {}, preprocess=preprocess
    )
    if Path(text).suffix.removeprefix(".") in PROGRAM_FORMATS:
        return _load.saved(text, request)
    if text.rpartition(":")[0].endswith(".py"):
        return _load.from_file(text, request)
    if text not in _builders():
        _load.refuse_other_files(text)
    return _load.from_zoo(text, find(text), card_of(text), request)


@functools.cache
def _builders() -> dict[str, Builder]:
    families = [importlib.import_module(f"{__name__}.{family}") for family in plugins.names(__name__)]
    return {
        name: member
        for family in families
        for name, member in vars(family).items()
        if isinstance(getattr(member, "card", None), Card) and member.__module__ == family.__name__
    }

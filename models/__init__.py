"""The zoo: one family a file, one function a model, and a card on each.

A model is listed as soon as a file of this folder holds a function with a card (see `_card.py`). Here
are the listing and `load`, which turns a MODEL text into a captured Program.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import torch

from edgepress import plugins
from edgepress.errors import UnknownName
from edgepress.models._card import Card

Builder = Callable[..., torch.nn.Module]


def names() -> tuple[str, ...]:
    """Every model there is, sorted."""
    return tuple(sorted(_builders()))


def find(name: str) -> Builder:
    """The function that builds the model `name`; UnknownName, with the nearest, when there is none."""
    if name not in _builders():
        raise UnknownName("model", name, names(), where=name)
    return _builders()[name]


def card_of(name: str) -> Card:
    """What is known about the model `name`; UnknownName when there is none."""
    return find(name).card  # type: ignore[attr-defined,no-any-return]


@functools.cache
def _builders() -> dict[str, Builder]:
    families = [importlib.import_module(f"{__name__}.{family}") for family in plugins.names(__name__)]
    return {
        name: member
        for family in families
        for name, member in vars(family).items()
        if isinstance(getattr(member, "card", None), Card) and member.__module__ == family.__name__
    }

"""List the compression stages, or one stage's options."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any

import click

from edgepress.bounds import Ge, Gt, Le, Lt
from edgepress.cli._console import json_option, print_json, print_table

SIGNS: dict[type[Any], str] = {Gt: ">", Ge: ">=", Lt: "<", Le: "<="}


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the stages that a recipe may hold; with NAME, that stage's options and their defaults."""
    from edgepress import plugins, stage

    if name is None:
        listed = {found: plugins.summary(stage.PACKAGE, found) for found in stage.names()}
        if as_json:
            print_json(listed)
        else:
            print_table(["stage", "what it does"], list(listed.items()))
        return
    found = stage.find(name)
    rows = list(described(found))
    if as_json:
        keys = ("option", "type", "default")
        print_json({"stage": name, "options": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    click.echo(inspect.getdoc(found))
    print_table(["option", "takes", "default"], rows)


def described(cls: type[Any], group: Any = None, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(name, what it takes, default) of each option; those of a `group` as group.name, with its own defaults."""
    meant = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        default = field.default if group is None else getattr(group, field.name)
        if dataclasses.is_dataclass(default):
            yield from described(type(default), default, f"{prefix}{field.name}.")
        else:
            text = "required" if default is dataclasses.MISSING else str(default)
            yield f"{prefix}{field.name}", _type_text(meant[field.name]), text


def _type_text(meant: Any) -> str:
    """`int >= 1` for `Annotated[int, Ge(1)]`, `full, half` for a Literal of these, `str or none` for `str | None`."""
    origin, parts = typing.get_origin(meant), typing.get_args(meant)
    if origin is typing.Literal:
        return ", ".join(map(str, parts))
    if origin is typing.Annotated:
        bounds = [bound for bound in meant.__metadata__ if type(bound) in SIGNS]
        return " ".join([_type_text(parts[0]), ", ".join(map(_bound_text, bounds))]).strip()
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_text, parts))
    if origin is tuple:
        return f"list of {_type_text(parts[0])}"
    return "none" if meant is type(None) else getattr(meant, "__name__", str(meant))


def _bound_text(bound: Any) -> str:
    (value,) = dataclasses.astuple(bound)
    return f"{SIGNS[type(bound)]} {value}"

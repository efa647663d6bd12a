"""List the compression stages, or one stage's options."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import click

from edgepress.cli._console import json_option, print_json, print_table


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
    meant = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        default = field.default if group is None else getattr(group, field.name)
        if dataclasses.is_dataclass(default):
            yield from described(type(default), default, f"{prefix}{field.name}.")
        else:
            text = "required" if default is dataclasses.MISSING else str(default)
            yield f"{prefix}{field.name}", _type_text(field.type, meant[field.name]), text


def _type_text(written: object, meant: object) -> str:
    """The annotation as written, `Annotated[float, Gt(0)]` shortened to `float, Gt(0)`; but words are spelt out."""
    if typing.get_origin(meant) is typing.Literal:
        return ", ".join(map(str, typing.get_args(meant)))
    text = str(written)
    return text.replace("Annotated[", "").replace("]", "", 1) if text.startswith("Annotated[") else text

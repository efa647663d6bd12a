"""List the compression stages, or one stage's options."""

from __future__ import annotations

import dataclasses
import inspect

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
    rows = [
        (
            field.name,
            _type_text(field.type),
            "required" if field.default is dataclasses.MISSING else str(field.default),
        )
        for field in dataclasses.fields(found)
    ]
    if as_json:
        keys = ("option", "type", "default")
        print_json({"stage": name, "options": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    click.echo(inspect.getdoc(found))
    print_table(["option", "takes", "default"], rows)


def _type_text(annotation: object) -> str:
    """The annotation as written, `Annotated[float, Gt(0)]` shortened to `float, Gt(0)`."""
    text = str(annotation)
    return text.replace("Annotated[", "").replace("]", "", 1) if text.startswith("Annotated[") else text

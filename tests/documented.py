"""Commands that a page of the documentation shows, taken as edgepress takes them, but not run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from edgepress.cli._group import Commands


def find(words: Sequence[str]) -> tuple[click.Command, list[str]]:
    """The command, which may be one of a group, and the arguments behind its name."""
    command: click.Command = Commands()
    rest = list(words)
    while isinstance(command, click.Group):
        name, *rest = rest
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"edgepress has no {name}"
        command = found
    return command, rest


def parse(words: Sequence[str]) -> None:
    """A usage error where an argument is missing, or an option is not there or takes something else."""
    command, arguments = find(words)
    command.make_context(words[0], arguments)

"""Lists the commands from the folder and imports one only to run it, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import importlib.util

import click

from edgepress import plugins
from edgepress.errors import UnknownName

PACKAGE = "edgepress.cli"
ORDER = (
    "doctor",
    "devices",
    "models",
    "stages",
    "inspect",
    "sensitivity",
    "train",
    "compress",
    "convert",
    "verify",
    "benchmark",
    "bundle",
    "report",
    "demo",
)
"""In the order of a user's work; a command not named here comes last."""


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        names = plugins.names(PACKAGE)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in plugins.names(PACKAGE):
            raise UnknownName("command", cmd_name, plugins.names(PACKAGE))
        command: click.Command = importlib.import_module(f"{PACKAGE}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, plugins.summary(PACKAGE, name)) for name in self.list_commands(ctx)])

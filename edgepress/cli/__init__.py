"""The command line: one file a command, loaded only when it is called. This folder is the top: it composes
everything and nobody imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from edgepress.cli._group import Commands
from edgepress.errors import EdgepressError

INTERRUPTED = 130


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 usage, 3 unsupported model or target, 4 verification failed, "
    "5 budget missed, 6 backend missing, 7 device failed.",
)
@click.version_option(package_name="edgepress")
def edgepress() -> None:
    """Compress a trained network, convert it, prove it still works, measure it on the device."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; errors go to stderr as what, where and what to do."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        edgepress.main(args=arguments, prog_name="edgepress", standalone_mode=False)
    except EdgepressError as error:
        click.echo(f"edgepress: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgepress: interrupted. What was finished is kept; --resume goes on from it.", err=True)
        return INTERRUPTED
    return 0

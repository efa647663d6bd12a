"""The command line: one file a command, loaded only when it is called. This folder is the top: it composes
everything and nobody imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from edgepress.cli import _failures, _signals
from edgepress.cli._group import Commands
from edgepress.errors import EdgepressError

INTERRUPTED, TERMINATED = 130, 143


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug in edgepress, 2 usage, 3 unsupported model or target, 4 verification failed, "
    "5 budget missed, 6 backend missing, 7 device failed, 130 interrupted, 143 terminated.",
)
@click.version_option(package_name="edgepress")
def edgepress() -> None:
    """Compress a trained network, convert it, prove it still works, measure it on the device."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; errors go to stderr as what, where and what to do."""
    _signals.listen()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. With EDGEPRESS_DEBUG set, a bug raises."""
    try:
        with _signals.stopping():
            edgepress.main(args=arguments, prog_name="edgepress", standalone_mode=False)
    except EdgepressError as error:
        click.echo(f"edgepress: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        terminated = _signals.Terminated in (type(stop), type(stop.__cause__))
        click.echo(f"edgepress: {'terminated' if terminated else 'interrupted'}.", err=True)
        return TERMINATED if terminated else INTERRUPTED
    except Exception as error:
        if _failures.debugging():
            raise
        told = _failures.in_own_words(error)
        click.echo(f"edgepress: {told}", err=True)
        return told.exit_code
    return 0

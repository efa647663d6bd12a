"""What the user sees: results on stdout, as tables or JSON; progress and remarks on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from edgepress.progress import Progress, silent

json_option = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def remark(text: str) -> None:
    """A line for a person, on stderr."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A table on stdout; columns of numbers are aligned to the right."""
    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        numeric = all(row[number][:1].isdigit() or row[number][:1] in "-+" for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Without markup: a cell such as edgepress[tflite] is text.
    console = Console(markup=False)
    console.print(table) if console.is_terminal else Console(width=200, markup=False).print(table)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A Progress that draws one bar a task on stderr; each new task takes the line of the one before.

    Where stderr is no terminal, as in a log, nothing is drawn."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield silent
        return
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    current: dict[str, Any] = {}

    def update(task: str, done: int, total: int | None) -> None:
        family = task.partition(":")[0]
        if current.get("family") != family:
            if "id" in current:
                bars.remove_task(current["id"])
            current.update(family=family, id=bars.add_task(task, total=total))
        bars.update(current["id"], description=task, completed=done, total=total)

    with bars:
        yield update

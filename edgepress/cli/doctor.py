"""Tell which backends are installed, in which versions, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import asdict, dataclass

import click

from edgepress.cli._console import json_option, print_json, print_table


@dataclass(frozen=True)
class Finding:
    """One part that needs packages: `status` is "ready" or "missing", `detail` versions or the way to get it."""

    kind: str
    name: str
    status: str
    detail: str


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show every converter, runner and optional part: ready with its versions, or missing with the command that installs it."""
    from edgepress.benchmarks import Environment

    findings = _findings()
    environment = Environment.read()
    if as_json:
        print_json(
            {"environment": asdict(environment), "backends": [asdict(finding) for finding in findings]}
        )
        return
    for key, value in asdict(environment).items():
        click.echo(f"{key:<20} {value}")
    print_table(
        ["kind", "name", "status", "detail"], [list(asdict(finding).values()) for finding in findings]
    )


def _findings() -> list[Finding]:
    from edgepress import plugins, runtime
    from edgepress.benchmarks import report

    edges = [name for name in plugins.names("edgepress.convert") if "_to_" in name]
    found = [_converter(*edge.split("_to_")) for edge in edges]
    for name in runtime.names():
        runner = runtime.find(name)
        found.append(_finding("runner", name, runner.requires, runner.extra))
    found.append(_finding("data", "digits", ("sklearn",), "digits"))
    found.append(_finding("report", "html", report.PACKAGES, report.EXTRA))
    return found


def _converter(start: str, end: str) -> Finding:
    try:
        from edgepress import convert

        converter = convert.reader(start) if end == "program" else convert.find(start, end)
    except ModuleNotFoundError as error:  # one of the packages that every installation has
        return Finding("converter", f"{start} to {end}", "missing", f"pip install {error.name}")
    return _finding("converter", f"{start} to {end}", converter.requires(), converter.extra())


def _finding(kind: str, name: str, packages: tuple[str, ...], extra: str) -> Finding:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        get = f"pip install 'edgepress[{extra}]'" if extra else f"pip install {' '.join(missing)}"
        return Finding(kind, name, "missing", get)
    owners = importlib.metadata.packages_distributions()
    versions = (
        f"{distribution} {importlib.metadata.version(distribution)}"
        for package in packages
        for distribution in owners.get(package, ())[:1]
    )
    return Finding(kind, name, "ready", ", ".join(versions))

"""Tell which backends are installed, in which versions, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import click

from edgepress.cli._console import json_option, print_json, print_table
from edgepress.cli._inputs import listed_formats


@dataclass(frozen=True)
class Finding:
    """One part that needs packages: `status` is "ready", "missing" or, where nobody can get it, "unavailable";
    `detail` are versions, the way to get it, or why there is none."""

    kind: str
    name: str
    status: str
    detail: str


@click.command()
@click.option(
    "--make", "environment", metavar="NAME", help="First make the isolated environment of this name."
)
@click.option(
    "--for",
    "formats",
    metavar="FORMAT,...",
    help="Exit with 6 unless these formats can be written and run here.",
)
@json_option
def command(environment: str | None, formats: str | None, as_json: bool) -> None:
    """Show every converter, runner and optional part: ready with its versions, or missing with the command that installs it.

    What is missing is no error, unless a format of --for needs it. Tools whose requirements conflict with ours live in isolated environments in the cache folder.
    """
    from edgepress import environments
    from edgepress.benchmarks import Environment
    from edgepress.cli._installed import require

    wanted = () if formats is None else listed_formats(formats)
    if environment:
        environments.find(environment).make()
    findings = _findings()
    machine = Environment.read()
    if as_json:
        print_json({"environment": asdict(machine), "backends": [asdict(finding) for finding in findings]})
    else:
        for key, value in asdict(machine).items():
            click.echo(f"{key:<20} {value}")
        print_table(
            ["kind", "name", "status", "detail"], [list(asdict(finding).values()) for finding in findings]
        )
    if wanted:
        require(wanted)


def _findings() -> list[Finding]:
    from edgepress import emulation, environments, plugins, runtime
    from edgepress.benchmarks import report
    from edgepress.history import CONVERTS
    from edgepress.unavailable import SYSTEMS

    edges = [name for name in plugins.names("edgepress.convert") if CONVERTS in name]
    found = [_converter(*edge.split(CONVERTS)) for edge in edges]
    for name in runtime.names():
        runner = runtime.find(name)
        found.append(_finding("runner", name, runner.require, runner.requires))
    for name in environments.names():
        tool = environments.find(name)
        found.append(_finding("environment", name, tool.require, detail=", ".join(tool.requirements)))
    found.append(_finding("device", "qemu", emulation.require, detail=", ".join(emulation.PROFILES)))
    for kind, name, packages, extra in (
        ("data", "digits", ("sklearn",), "digits"),
        ("report", "html", report.PACKAGES, report.EXTRA),
    ):
        found.append(_finding(kind, name, partial(plugins.require, *packages, extra=extra), packages))
    for system in SYSTEMS:
        found.append(Finding("system", system.name, "unavailable", f"{system.why}; {system.instead}"))
    return found


def _converter(start: str, end: str) -> Finding:
    try:
        from edgepress import convert

        converter = convert.reader(start) if end == "program" else convert.find(start, end)
    except ModuleNotFoundError as error:  # one of the packages that every installation has
        return Finding("converter", f"{start} to {end}", "missing", f"pip install {error.name}")
    return _finding("converter", f"{start} to {end}", converter.require, converter.requires())


def _finding(
    kind: str, name: str, require: Callable[[], object], packages: tuple[str, ...] = (), detail: str = ""
) -> Finding:
    """What `require` raises, or the `detail`, or the versions of the packages."""
    from edgepress.errors import BackendMissing, UnsupportedTarget

    try:
        require()
    except (BackendMissing, UnsupportedTarget) as error:
        return Finding(kind, name, "missing", error.hint)
    return Finding(kind, name, "ready", detail or ", ".join(_versions(packages)))


def _versions(packages: tuple[str, ...]) -> Iterator[str]:
    owners = importlib.metadata.packages_distributions()
    for package in packages:
        for distribution in owners.get(package, ())[:1]:
            yield f"{distribution} {importlib.metadata.version(distribution)}"

"""Name the devices that artifacts run on, look at them, and clean up there."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from edgepress.runtime import Target


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Give devices names, which stand wherever a TARGET does.

    TARGET is cpu, cuda:0, ssh://[USER@]HOST[:PORT], adb:SERIAL or qemu:PROFILE; with #RUNNER behind it, on that runtime.
    """


@command.command()
@click.argument("name")
@click.argument("target")
@click.option(
    "--python", default="", metavar="PATH", help="The interpreter there, as of a virtual environment."
)
def add(name: str, target: str, python: str) -> None:
    """Let NAME stand for TARGET. That the device answers is not asked: devices show does."""
    from edgepress import devices
    from edgepress.errors import BadOption
    from edgepress.runtime import Target

    meant = Target.parse(target)
    if meant.name:
        raise BadOption(
            f"{target!r} is itself a name, not a target.",
            where="devices add",
            hint=f"give {meant.device} a second name",
        )
    devices.add(name, devices.Named(str(meant), python), devices.kinds())


@command.command("list")
@json_option
def listed(as_json: bool) -> None:
    """List the names, and what they stand for."""
    from edgepress import devices

    named = devices.named()
    if as_json:
        print_json({name: asdict(device) for name, device in named.items()})
    else:
        rows = [[name, device.target, device.python] for name, device in named.items()]
        print_table(["name", "target", "python"], rows)


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget NAME. What lies on the device stays there: devices clean comes first."""
    from edgepress import devices

    devices.remove(name)


@command.command()
@click.argument("target")
@json_option
def show(target: str, as_json: bool) -> None:
    """Connect to TARGET and tell what it is, how it does, and which runtimes artifacts find there."""
    from edgepress.runtime import Target

    facts = _facts(Target.parse(target))
    if as_json:
        print_json(facts)
    else:
        print_table(["fact", "value"], [[key, _text(value)] for key, value in facts.items()])


@command.command()
@click.argument("target")
def clean(target: str) -> None:
    """Remove what edgepress keeps on TARGET: the artifacts that ran there, and its agent."""
    from edgepress.runtime import Target

    with Target.parse(target).device.transport() as transport:
        transport.clean()


@command.command()
@click.argument("kind")
def setup(kind: str) -> None:
    """Make on this machine what devices of KIND need of it: qemu, the emulated one; or native, the program that runs
    .ncnn files on boards and phones without Python (TARGET#ncnn_native)."""
    from edgepress import devices, native

    with progress_bar() as progress:
        if kind == "native":
            made = native.make(progress)
        else:
            made = ()
            devices.find(kind).setup(progress)
    for program in made:
        click.echo(f"{program}: {program.stat().st_size:,} bytes")


def _facts(target: Target) -> dict[str, Any]:
    """The machine by its own files, which any has; then what Python and the runtimes say, where they are."""
    from edgepress.errors import BackendMissing, DeviceFailed
    from edgepress.runtime.remote import Link

    with target.device.transport() as transport:
        facts = asdict(transport.facts())
    try:
        with Link(target) as link:
            told = link.facts
    except (BackendMissing, DeviceFailed) as error:
        return {**facts, "python": None, "runtimes": [], "why": error.what}
    if told.emulated:
        return {**told.environment, "runtimes": list(told.runners), "emulated": True}
    python = {key: told.environment[key] for key in ("python", "packages")}
    return {**facts, **python, "runtimes": list(told.runners)}


def _text(value: Any) -> str:
    if value is None:
        return "not told"
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

"""Running artifacts: one file a backend, `on_<name>.py`. Nothing here imports torch until on_torch opens a file."""

from __future__ import annotations

from pathlib import Path

from edgepress import plugins
from edgepress.artifact import Artifact
from edgepress.errors import UnsupportedTarget
from edgepress.runtime._compare import Comparison, compare, limit_agreement, limit_db
from edgepress.runtime._layers import LayerComparison, LayerReport, compare_layers
from edgepress.runtime._runner import LayerTime, Runner, Turn
from edgepress.runtime._target import Target

__all__ = [
    "Comparison",
    "LayerComparison",
    "LayerReport",
    "LayerTime",
    "Runner",
    "Target",
    "Turn",
    "compare",
    "compare_layers",
    "find",
    "limit_agreement",
    "limit_db",
    "names",
    "open",
    "runners_of",
]


def names() -> tuple[str, ...]:
    """Every backend there is."""
    return plugins.names(__name__, "on_")


def find(name: str) -> type[Runner]:
    """The Runner class of the backend called `name`; UnknownName otherwise."""
    found: type[Runner] = plugins.only_class(
        plugins.load(__name__, name, kind="runner", prefix="on_"), Runner
    )
    return found


def runners_of(format: str, *, portable: bool = False) -> tuple[str, ...]:
    """The backends that load files of this format, the one to take by itself first; where `portable`, those of them
    that run on other devices."""
    able = {name: find(name) for name in names() if format in find(name).formats}
    fitting = (name for name, found in able.items() if found.portable or not portable)
    return tuple(sorted(fitting, key=lambda name: able[name].for_reference))


def open(artifact: Artifact | str | Path, target: Target | str = Target(), threads: int = 1) -> Runner:
    """The Runner for an artifact on a target, to be used in a `with`.

    Raises UnsupportedTarget when the target's runner does not load this format or none does.
    """
    if not isinstance(artifact, Artifact):
        artifact = Artifact.open(artifact)
    if not isinstance(target, Target):
        target = Target.parse(target)
    able = runners_of(artifact.format, portable=not target.device.here)
    if target.runner and _is_driven_from_here(target, artifact.format):
        return _here(target.runner, artifact, target, threads)
    if target.runner and target.runner not in able:
        find(target.runner)
        raise UnsupportedTarget(
            f"{target.runner} does not run .{artifact.format} files{'' if target.device.here else ' on other devices'}.",
            where=str(artifact.path),
            hint=f"runners that do: {', '.join(able) or 'none'}",
        )
    if not able:
        raise UnsupportedTarget(
            f"No runner loads .{artifact.format} files{'' if target.device.here else ' on other devices'}.",
            where=str(artifact.path),
            hint="edgepress doctor lists the runners and what they load",
        )
    if not target.device.here:
        from edgepress.runtime.remote import RemoteRunner

        return RemoteRunner(artifact, target, threads, (target.runner,) if target.runner else able)
    return _here(target.runner or able[0], artifact, target, threads)


def _is_driven_from_here(target: Target, format: str) -> bool:
    """Whether its runner needs no agent there."""
    found = find(target.runner)
    return format in found.formats and isinstance(target.device, found.devices)


def _here(name: str, artifact: Artifact, target: Target, threads: int) -> Runner:
    runner = find(name)
    if not isinstance(target.device, runner.devices):
        raise UnsupportedTarget(
            f"{name} does not run on {target.place}.",
            where=str(target),
            hint=f"devices that it runs on: {', '.join(device.syntax for device in runner.devices)}",
        )
    return runner(artifact, target, threads)

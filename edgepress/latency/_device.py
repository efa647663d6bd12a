"""What decides about latencies on a target's device: its processor and the versions there."""

from __future__ import annotations

import functools
import importlib.metadata

from edgepress import runtime
from edgepress.benchmarks import Environment
from edgepress.errors import BackendMissing
from edgepress.runtime import Target
from edgepress.runtime.remote import Facts, Link


def check_device(target: Target) -> None:
    """Raise DeviceFailed unless another machine answers, BackendMissing unless it has the target's runtime."""
    facts = _facts(target)
    if target.runner not in facts.runners:
        raise BackendMissing(
            f"The device does not have {target.runner}.",
            where=target.place,
            hint=f"edgepress devices show {target.place} lists what it has",
        )


def device_conditions(target: Target) -> dict[str, str]:
    """In words, to be compared; DeviceFailed where the device does not answer."""
    if target.device.here:
        environment = Environment.read()
        packages = ("edgepress", *runtime.find(target.runner).requires)
        versions = {package: importlib.metadata.version(package) for package in packages}
        return {"processor": environment.processor, "machine": environment.machine, **versions}
    told = _facts(target).environment
    return {"processor": told["processor"], "machine": told["machine"], **told["packages"]}


@functools.cache
def _facts(target: Target) -> Facts:
    """Asked once."""
    with Link(target) as link:
        return link.facts

"""What a measurement was taken on: the machine, how busy and how hot it was, and the versions in use."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgepress.machine import Machine, text

PACKAGES = (
    "edgepress",
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ncnn",
    "MNN",
    "openvino",
)
"""The packages whose versions change a latency."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """None (and an empty text) stands for what this machine does not tell; it is never guessed.

    `usable_cores` is what the process may use (affinity and cgroup quota, so it may be a fraction),
    `load_average` the waiting processes over 1, 5 and 15 minutes, `time` ISO 8601 in UTC.
    """

    machine: str
    processor: str
    usable_cores: float
    memory_mb: int
    system: str
    python: str
    virtual_machine: bool | None = None
    governor: str | None = None
    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    load_average: tuple[float, float, float] | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    time: str = ""

    @classmethod
    def read(cls, root: Path = Path("/")) -> Environment:
        """This machine, now. `root` is where its /proc and /sys are mounted."""
        machine = Machine.read(root, f"{platform.system()} {platform.release()}")
        return cls(
            machine=platform.machine(),
            processor=machine.processor or platform.processor(),
            usable_cores=_usable_cores(root),
            memory_mb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
            system=f"{machine.system} ({machine.kernel})" if machine.system else machine.kernel,
            python=platform.python_version(),
            virtual_machine=machine.virtual_machine,
            governor=machine.governor,
            clock_mhz=machine.clock_mhz,
            temperature_c=machine.temperature_c,
            throttled=machine.throttled,
            load_average=os.getloadavg() if hasattr(os, "getloadavg") else None,
            packages=_versions(),
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )


def _usable_cores(root: Path) -> float:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cores(root / "sys/fs/cgroup")
    return min(float(allowed), quota) if quota else float(allowed)


def _cgroup_cores(cgroup: Path) -> float | None:
    """The processor quota of this container in cores (cgroup version 2, then 1); None when unlimited."""
    quota, _, period = text(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = text(cgroup / "cpu/cpu.cfs_quota_us"), text(cgroup / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return round(int(quota) / int(period), 2)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

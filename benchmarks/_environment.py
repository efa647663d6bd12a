"""What a measurement was taken on: the machine, how busy and how hot it was, and the versions in use."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import psutil

PACKAGES = ("edgepress", "numpy", "torch", "onnx", "onnxruntime", "ai-edge-litert")
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
    load_average: tuple[float, float, float] | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    time: str = ""

    @classmethod
    def read(cls, root: Path = Path("/")) -> Environment:
        """This machine, now. `root` is where its /proc and /sys are mounted."""
        cpuinfo = _text(root / "proc/cpuinfo")
        return cls(
            machine=platform.machine(),
            processor=_processor(cpuinfo, root),
            usable_cores=_usable_cores(root),
            memory_mb=round(psutil.virtual_memory().total / 1e6),
            system=_system(root),
            python=platform.python_version(),
            virtual_machine="hypervisor" in _first(cpuinfo, "flags").split() if "flags" in cpuinfo else None,
            governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
            clock_mhz=_clock_mhz(cpuinfo, root),
            temperature_c=_temperature_c(root),
            load_average=os.getloadavg() if hasattr(os, "getloadavg") else None,
            packages=_versions(),
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )


def _processor(cpuinfo: str, root: Path) -> str:
    """The name in cpuinfo; ARM boards keep it in the device tree."""
    board = _text(root / "proc/device-tree/model").rstrip("\0")
    return _first(cpuinfo, "model name") or board or _first(cpuinfo, "Hardware") or platform.processor()


def _usable_cores(root: Path) -> float:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cores(root / "sys/fs/cgroup")
    return min(float(allowed), quota) if quota else float(allowed)


def _cgroup_cores(cgroup: Path) -> float | None:
    """The processor quota of this container in cores (cgroup version 2, then 1); None when unlimited."""
    quota, _, period = _text(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(cgroup / "cpu/cpu.cfs_quota_us"), _text(cgroup / "cpu/cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return round(int(quota) / int(period), 2)


def _clock_mhz(cpuinfo: str, root: Path) -> float | None:
    """The mean of the cores' current clocks."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [float(text) / 1000 for file in files if (text := _text(file)).isdigit()]
    clocks = clocks or [float(value) for value in _every(cpuinfo, "cpu MHz")]
    return round(statistics.fmean(clocks), 1) if clocks else None


def _temperature_c(root: Path) -> float | None:
    """The hottest thermal zone."""
    zones = (root / "sys/class/thermal").glob("thermal_zone*/temp")
    degrees = [int(text) / 1000 for zone in zones if (text := _text(zone)).lstrip("-").isdigit()]
    return max(degrees, default=None)


def _system(root: Path) -> str:
    lines = dict(line.partition("=")[::2] for line in _text(root / "etc/os-release").splitlines())
    distribution = lines.get("PRETTY_NAME", "").strip('"')
    kernel = f"{platform.system()} {platform.release()}"
    return f"{distribution} ({kernel})" if distribution else kernel


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _every(cpuinfo: str, key: str) -> list[str]:
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _first(cpuinfo: str, key: str) -> str:
    return next(iter(_every(cpuinfo, key)), "")


def _text(path: Path) -> str:
    """The file's text; empty where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

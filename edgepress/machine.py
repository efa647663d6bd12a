"""What a Linux machine tells about itself in /proc and /sys: this one, or a device whose files were copied."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CPU, THERMAL = "sys/devices/system/cpu", "sys/class/thermal"
BOARD = "sys/devices/platform/soc/soc:firmware/get_throttled"

FILES = tuple(
    f"/{name}"
    for name in (
        "proc/cpuinfo",
        "proc/meminfo",
        "proc/device-tree/model",
        "etc/os-release",
        f"{CPU}/cpu*/cpufreq/scaling_governor",
        f"{CPU}/cpu*/cpufreq/scaling_cur_freq",
        f"{THERMAL}/thermal_zone*/temp",
        f"{THERMAL}/cooling_device*/type",
        f"{THERMAL}/cooling_device*/cur_state",
        BOARD,
    )
)
"""The files that `Machine.read` looks at, as patterns of a shell."""

THROTTLED_NOW = 0b1110
"""The bits of a Raspberry Pi's `get_throttled` that stand for this moment: clock capped, throttled, soft limit."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """None (and an empty text) stands for what the machine does not tell; it is never guessed.

    `clock_mhz` is the mean of the cores' current clocks, `temperature_c` the hottest thermal zone, `throttled`
    whether its clock is held back at this moment because of heat or voltage.
    """

    kernel: str
    system: str
    processor: str
    cores: int | None = None
    memory_mb: int | None = None
    virtual_machine: bool | None = None
    governor: str | None = None
    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None

    @classmethod
    def read(cls, root: Path, kernel: str) -> Machine:
        """From the files below `root`; `kernel` is what uname says."""
        cpuinfo, meminfo = text(root / "proc/cpuinfo"), text(root / "proc/meminfo")
        memory_kb = _first(meminfo, "MemTotal").partition(" ")[0]
        return cls(
            kernel=kernel,
            system=_system(root),
            processor=_processor(cpuinfo, root),
            cores=len(_every(cpuinfo, "processor")) or None,
            memory_mb=round(int(memory_kb) * 1024 / 1e6) if memory_kb.isdigit() else None,
            virtual_machine="hypervisor" in _first(cpuinfo, "flags").split() if "flags" in cpuinfo else None,
            governor=text(root / CPU / "cpu0/cpufreq/scaling_governor") or None,
            clock_mhz=_clock_mhz(cpuinfo, root),
            temperature_c=_temperature_c(root),
            throttled=_throttled(root),
        )


def text(path: Path) -> str:
    """The file's text; empty where it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""


def _processor(cpuinfo: str, root: Path) -> str:
    """The name in cpuinfo; ARM boards keep it in the device tree."""
    return (
        _first(cpuinfo, "model name")
        or text(root / "proc/device-tree/model")
        or _first(cpuinfo, "Hardware")
        or _arm_core(cpuinfo)
    )


def processor_name(cpuinfo: str) -> str:
    """The processor by the text of /proc/cpuinfo alone."""
    return _first(cpuinfo, "model name") or _first(cpuinfo, "Hardware") or _arm_core(cpuinfo)


def _arm_core(cpuinfo: str) -> str:
    """What a processor without a name says of its cores: `implementer 0x41, part 0xd0b`."""
    implementer, part = _first(cpuinfo, "CPU implementer"), _first(cpuinfo, "CPU part")
    return f"implementer {implementer}, part {part}" if part else ""


def _system(root: Path) -> str:
    lines = dict(line.partition("=")[::2] for line in text(root / "etc/os-release").splitlines())
    return lines.get("PRETTY_NAME", "").strip('"')


def _clock_mhz(cpuinfo: str, root: Path) -> float | None:
    clocks = [khz / 1000 for khz in _numbers(root / CPU, "cpu[0-9]*/cpufreq/scaling_cur_freq")]
    clocks = clocks or [float(value) for value in _every(cpuinfo, "cpu MHz")]
    return round(statistics.fmean(clocks), 1) if clocks else None


def _temperature_c(root: Path) -> float | None:
    return max((milli / 1000 for milli in _numbers(root / THERMAL, "thermal_zone*/temp")), default=None)


def _throttled(root: Path) -> bool | None:
    """By a Raspberry Pi's firmware, or by the kernel, where it holds the clock back to cool the processor."""
    firmware = text(root / BOARD)
    if firmware:
        return bool(int(firmware, 16) & THROTTLED_NOW)
    coolers = [
        file.parent for file in (root / THERMAL).glob("cooling_device*/type") if "cpufreq" in text(file)
    ]
    states = [text(cooler / "cur_state") for cooler in coolers]
    return any(state not in ("", "0") for state in states) if states else None


def _numbers(folder: Path, pattern: str) -> Iterator[int]:
    for file in sorted(folder.glob(pattern)):
        if (found := text(file)).lstrip("-").isdigit():
            yield int(found)


def _every(listing: str, key: str) -> list[str]:
    pairs = (line.partition(":") for line in listing.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _first(listing: str, key: str) -> str:
    return next(iter(_every(listing, key)), "")

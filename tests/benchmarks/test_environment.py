"""Reading the machine: this one, and boards laid out as folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgepress.benchmarks import Environment


def _board(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_machine():
    found = Environment.read()
    assert 0 < found.usable_cores <= os.cpu_count()
    assert found.memory_mb > 100
    assert found.packages["numpy"] == np.__version__
    assert found.time.endswith("+00:00")


def test_an_arm_board(tmp_path):
    cores = {f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": f"{khz}\n"
             for core, khz in enumerate((1800000, 600000))}  # fmt: skip
    found = Environment.read(_board(tmp_path, cores | {
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\n",
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone1/temp": "51000\n",
        "etc/os-release": 'PRETTY_NAME="Raspbian 12"\n',
    }))  # fmt: skip
    assert found.processor == "Raspberry Pi 4 Model B Rev 1.4"
    assert (found.governor, found.clock_mhz, found.temperature_c) == ("ondemand", 1200.0, 51.0)
    assert found.virtual_machine is None
    assert found.system.startswith("Raspbian 12 (")


def test_a_container_with_half_a_core(tmp_path):
    second = _board(tmp_path / "2", {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    first = _board(tmp_path / "1", {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    })  # fmt: skip
    unlimited = _board(tmp_path / "0", {"sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert Environment.read(second).usable_cores == 0.5
    assert Environment.read(first).usable_cores == 0.5
    assert Environment.read(unlimited).usable_cores == len(os.sched_getaffinity(0))


def test_what_a_machine_does_not_tell_is_none(tmp_path):
    found = Environment.read(tmp_path)
    assert (found.governor, found.clock_mhz, found.temperature_c, found.virtual_machine) == (None,) * 4


def test_measuring_loads_neither_torch_nor_a_plotting_library():
    code = "import sys, edgepress.benchmarks; print(*{'torch', 'matplotlib', 'jinja2', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""Runs in the guest: prints what the processor tells programs there, in the two ways that runtimes ask it."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

AT_HWCAP = 16

getauxval = ctypes.CDLL(None).getauxval
getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()]
cpuinfo = {key.strip(): value.strip() for key, _, value in reversed(lines)}
print(  # noqa: T201  the answer to who started it
    json.dumps(
        {
            "hwcap": getauxval(AT_HWCAP),
            "features": cpuinfo.get("Features", ""),
            "part": cpuinfo.get("CPU part", ""),
        }
    )
)

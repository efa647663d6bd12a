"""Reads ExecuTorch's trace of a run (an ETDump, a flatbuffer) with the reader and the schema that come with it."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepress.runtime import _xnnpack
from edgepress.runtime._runner import LayerTime

PORTABLE = "native_call_"
"""The beginning of the name of an operator outside of every delegate."""

NS_PER_MS = 1e6


def layer_times(trace: Path, operators: Sequence[tuple[str, str]]) -> tuple[LayerTime, ...]:
    """The median time of each operator over the runs in the trace, without the first. The delegate's belong to those of
    the network's `operators` (layer and type, in execution order) that stand in the same place."""
    samples_ms: dict[tuple[int, str], list[float]] = {}
    runs = [run for run in _content(trace)["run_data"] if run["name"] == "Execute"]
    for run in runs[1:]:
        for event in run["events"]:
            operator = event["profile_event"]
            if name := _name(operator):
                took_ms = (operator["end_time"] - operator["start_time"]) / NS_PER_MS
                samples_ms.setdefault((operator["instruction_id"], name), []).append(took_ms)
    inside = iter(
        _xnnpack.layers([name for _, name in samples_ms if not name.startswith(PORTABLE)], operators)
    )
    return tuple(
        LayerTime(
            name,
            name.removeprefix(PORTABLE).partition(" #")[0],
            statistics.median(times),
            () if name.startswith(PORTABLE) else next(inside),
        )
        for (_, name), times in samples_ms.items()
    )


def _name(event: dict[str, Any]) -> str:
    """The delegate's name for one of its operators, or the operator outside; empty for what contains others."""
    outside = str(event.get("name", ""))
    return str(event.get("delegate_debug_id_str") or (outside if outside.startswith(PORTABLE) else ""))


def _content(trace: Path) -> Any:
    found = importlib.util.find_spec("executorch")
    assert found is not None, "the trace was just written by it"
    (home,) = map(Path, found.submodule_search_locations or [])
    schema = home / "devtools" / "etdump" / "etdump_schema_flatcc.fbs"
    with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
        reader = (
            home / "data" / "bin" / "flatc",
            "--size-prefixed",
            "--json",
            "--defaults-json",
            "--strict-json",
        )
        command: list[str | Path] = [*reader, "-o", folder, schema, "--", trace]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads(Path(folder, f"{trace.stem}.json").read_text(encoding="utf-8"))

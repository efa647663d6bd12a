"""What `pip install edgepress`, without extras, can do and how much it installs: run by `make base-test` in an
environment that holds nothing else.

Each command is run as a user would; the last part lists what was installed beyond torch, in megabytes, without the
bytecode that Python writes beside it.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

NETWORK = """
import numpy as np, torch
from torch import nn

def network():
    layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1600, 4)
    return nn.Sequential(*layers), (torch.zeros(1, 3, 14, 14),)

def data():
    random = np.random.default_rng(0)
    return [(random.standard_normal((64, 3, 14, 14), np.float32), random.integers(0, 4, 64))]
"""

COMMANDS = (
    "inspect mine.py:network",
    "compress mine.py:network --data mine.py:data --prune macs=0.6 --distill self,epochs=1 --quantize int8 -o out",
    "convert out/model.pt2 --to onnx -o out",
    "verify out/model.pt2 out/model.onnx --data mine.py:data",
    "benchmark out/model.onnx --protocol max_seconds=1",
)


def run_commands() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mine.py").write_text(NETWORK)
        for command in COMMANDS:
            line = [sys.executable, "-m", "edgepress", *command.split()]
            done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"edgepress {command}\n{done.stdout}{done.stderr}")
            say(f"works  edgepress {command}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def closure(name: str) -> set[str]:
    """The distribution and all that it requires, directly or not, without extras."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def megabytes(name: str) -> float:
    files = importlib.metadata.files(name) or ()
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    run_commands()
    sizes = {name: megabytes(name) for name in closure("edgepress") - closure("torch")}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        say(f"{sizes[name]:7.1f}  {name}")
    least = sizes.keys() & (closure("onnxruntime") | closure("onnxscript"))
    say(f"{sum(sizes.values()):7.1f}  MB beyond torch")
    say(
        f"{sum(sizes[name] for name in least):7.1f}  of them are NumPy, ONNX Runtime and PyTorch's ONNX exporter"
    )


if __name__ == "__main__":
    main()

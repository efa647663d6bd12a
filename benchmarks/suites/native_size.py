"""How small the native runner for ARM64 can be, and what every step gives up.

python benchmarks/suites/native_size.py --network squeezenet1_1

Builds ncnn anew for each row that is not in the cache folder yet: minutes each.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import torch

from edgepress import convert, models, native
from edgepress.cli._console import print_table, progress_bar
from edgepress.errors import BackendMissing
from edgepress.ncnn_file import unpack

INSIDE = ("Input", "Packing", "Cast", "Padding", "Flatten", "Split", "Noop", "InnerProduct", "ReLU", "Clip")
"""What ncnn's own layers call on, besides those of a network's file."""


def main() -> bool:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="squeezenet1_1", help="of the zoo [%(default)s]")
    given = parser.parse_args()
    whole = native.PROCESSORS["aarch64"]
    floats = dataclasses.replace(whole, narrow=())
    own = dataclasses.replace(floats, layers=tuple(sorted({*INSIDE, *_layers(given.network)})))
    rows = []
    try:
        with progress_bar() as progress:
            for says, processor in (
                ("as devices setup native builds it", whole),
                ("float32 alone: int8 and float16 files go", floats),
                (f"and the layers of {given.network} alone: other networks go", own),
            ):
                size = native.made(processor, progress).stat().st_size
                rows.append([says, str(len(processor.layers)), f"{size:,}"])
    except BackendMissing as error:
        sys.exit(str(error))
    print_table(["runner", "layers", "bytes"], rows)
    return True


def _layers(network: str) -> set[str]:
    """The types of the layers in the network's .ncnn file."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        folder = Path(name)
        graph, _ = unpack(convert.to(models.load(network), "ncnn", folder / network).path, folder)
        lines = graph.read_text(encoding="utf-8").splitlines()
    # Behind the magic number and the counts, every line begins with a type.
    return {line.split()[0] for line in lines[2:] if line.strip()}


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

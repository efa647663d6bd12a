"""SqueezeNet 1.1 and the MobileNets over every runtime that is installed, and over thread counts.

python benchmarks/suites/runtimes.py --threads 1,2

The same network in each runtime's own format; a runtime that cannot take a network says why, and the rest goes on.
"""

from __future__ import annotations

import sys

import torch
from _on_targets import Case, Found, measured, parser, save, table  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import models, runtime
from edgepress.benchmarks import ratio
from edgepress.errors import BackendMissing

NETWORKS = ("squeezenet1_1", "mobilenet_v1", "mobilenet_v2")


def main() -> bool:
    given = parser(__doc__ or "", targets=",".join(installed())).parse_args()
    found = measured([_case(name) for name in NETWORKS], given)
    table(found, lambda one: _faster(one, found))
    save("runtimes", found, given)
    return any(one.measurement for one in found)


def installed() -> list[str]:
    """Every runner on this machine's processor, as targets."""
    return [f"cpu:{name}" for name in runtime.names() if _is_installed(name)]


def _is_installed(name: str) -> bool:
    found = runtime.find(name)
    try:
        found.require()
    except BackendMissing:
        return False
    return not found.for_reference


def _case(name: str) -> Case:
    torch.manual_seed(0)
    return Case(name, models.load(name))


def _faster(one: Found, found: list[Found]) -> dict[str, str]:
    """How many times as fast as with the first number of threads."""
    first = next(each for each in found if (each.case, each.target) == (one.case, one.target))
    if one.measurement is None or first.measurement is None or one is first:
        return {"× threads": ""}
    return {"× threads": f"{1 / ratio(first.measurement, one.measurement).value:.2f}"}


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

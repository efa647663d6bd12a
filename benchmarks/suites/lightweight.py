"""The light networks beside each other: parameters, multiply-accumulates, published accuracy, and what they take here.

python benchmarks/suites/lightweight.py --on cpu:onnxruntime,cpu:litert

Few MACs are not little time: what a network costs on a target is what is measured there. Weights are random, which no
dense runtime's speed depends on.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from _on_targets import Case, Found, measured, parser, save, table  # type: ignore[import-not-found]  # beside this script, not in the package

from edgepress import models
from edgepress.cost import measure

NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mobilenet_v1", {}), ("mobilenet_v2", {}), ("mobilenet_v2", {"width": 1.4}),
    ("shufflenet_v1", {"width": 1.5}), ("shufflenet_v1", {"width": 2.0}),
    ("shufflenet_v2", {"width": 0.5}), ("shufflenet_v2", {}), ("shufflenet_v2", {"width": 1.5}), ("shufflenet_v2", {"width": 2.0}),
    ("squeezenet1_0", {}), ("squeezenet1_1", {}), ("mobilenet_v3_small", {}), ("mobilenet_v3_large", {}),
    ("efficientnet_b0", {}), ("nasnet_a_mobile", {}),
)  # fmt: skip


def main() -> bool:
    given = parser(__doc__ or "").parse_args()
    found = measured(cases(), given)
    table(found, _speed)
    save("lightweight", found, given)
    return all(one.measurement for one in found)


def cases() -> list[Case]:
    made = []
    for model, options in NETWORKS:
        torch.manual_seed(0)
        program = models.load(model, options=options)
        cost = measure(program)
        facts = {
            "M parameters": f"{cost.parameters / 1e6:.2f}",
            "M MACs": f"{cost.macs / 1e6:.0f}",
            "published top-1, %": _published(model, options),
        }
        made.append(Case(" ".join([model, *(f"{value}x" for value in options.values())]), program, facts))
    return made


def _published(model: str, options: dict[str, Any]) -> str:
    card = models.card_of(model)
    figures = {frozenset(variant.options.items()): variant.top1 for variant in card.variants}
    figure = figures.get(frozenset(options.items())) if options else card.top1
    return "" if figure is None else f"{figure:.1f}"


def _speed(one: Found) -> dict[str, str]:
    """How many of its multiply-accumulates the target does in a second, or for an instruction."""
    if one.cost is None:
        return {"MACs": ""}
    per = "an instruction" if one.unit == "M instructions" else "s"
    return {"MACs": f"{float(one.case.facts['M MACs']) / one.cost:.1f} {'G ' if per == 's' else ''}/ {per}"}


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

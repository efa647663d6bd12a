"""Whether the four guidelines for fast networks (ShuffleNet V2, section 2) hold on a target.

python benchmarks/suites/guidelines.py --on cpu:onnxruntime,cpu:litert

Each experiment changes one thing at the same multiply-accumulates. A guideline holds on a target when every variant that
it warns of is slower than the one it recommends, the whole interval of their ratio above 1; where some are, it holds but for
the others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import _guidelines  # type: ignore[import-not-found]  # beside this script, not in the package
import click
from _on_targets import Case, Found, measured, parser, save, table  # type: ignore[import-not-found]  # beside this script, not in the package
from torch import nn

from edgepress.benchmarks import Ratio, ratio
from edgepress.cli._console import remark
from edgepress.cost import measure
from edgepress.program import Program

Verdict = dict[str, object]


def main() -> bool:
    options = parser(__doc__ or "")
    options.add_argument(
        "--size", type=int, default=56, help="pixels a side; fewer for slow targets [%(default)s]"
    )
    given = options.parse_args()
    verdicts: list[Verdict] = []
    every: list[Found] = []
    for make in _guidelines.ALL:
        verdicts += experiment(make(), given, every)
    for verdict in verdicts:
        click.echo(f"{verdict['verdict']}: {verdict['target']}: {verdict['guideline']}")
    save("guidelines", every, given, verdicts=verdicts)
    return all(one.measurement for one in every)


def experiment(
    guideline: _guidelines.Guideline, given: argparse.Namespace, every: list[Found]
) -> list[Verdict]:
    """Measure one guideline's variants on every target, print them, and say of each target whether it holds."""
    found = measured([_case(guideline, given.size, *variant) for variant in guideline.variants], given)
    every += found
    firsts = {(one.target, one.threads): one for one in reversed(found)}
    remark(guideline.says)
    table(found, lambda one: _cells(_against(one, firsts[one.target, one.threads])))
    return [
        {
            "guideline": guideline.says,
            "target": f"{target}, threads {threads}",
            "verdict": _verdict([one for one in found if (one.target, one.threads) == (target, threads)]),
        }
        for target, threads in firsts
    ]


def _case(
    guideline: _guidelines.Guideline, size: int, name: str, channels: int, block: Callable[[], nn.Module]
) -> Case:
    module, examples = _guidelines.network(channels, block, size)
    program = Program.capture(module, examples)
    cost = measure(program)
    facts = {
        "M MACs": f"{cost.macs / 1e6:.1f}",
        "memory access, MB": f"{cost.accessed_bytes / 1e6:.2f}",
    }
    return Case(f"{guideline.name}: {name}", program, facts)


def _against(one: Found, first: Found) -> Ratio | None:
    if one.measurement is None or first.measurement is None:
        return None
    return ratio(first.measurement, one.measurement)


def _cells(against: Ratio | None) -> dict[str, str]:
    if against is None:
        return {"ratio": "", "95 %": ""}
    return {"ratio": f"{against.value:.3f}", "95 %": f"{against.low:.3f} to {against.high:.3f}"}


def _verdict(found: Sequence[Found]) -> str:
    """holds, holds but for those variants that are not slower, does not hold, or undecided where intervals hold 1."""
    against = [(one.case.name.partition(": ")[2], _against(one, found[0])) for one in found[1:]]
    known = [(name, one) for name, one in against if one is not None]
    if len(known) < len(against):
        return "not measured"
    but = [name for name, one in known if one.low <= 1]
    if len(but) < len(known):
        return f"holds but for {', '.join(but)}" if but else "holds"
    return "does not hold" if any(one.high < 1 for _, one in known) else "undecided"


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

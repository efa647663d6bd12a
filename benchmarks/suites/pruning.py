"""Channel pruning of ResNet-20 on CIFAR-10 beside a peer's, from the same checkpoint, to the same MACs, tuned alike.

python benchmarks/suites/pruning.py --data FOLDER [--quick]

Torch-Pruning is the peer, as its users get it: global, one shot, batch-norms as they are. It is no dependency: `pip
install --no-deps torch-pruning==1.6.1`, or the table has our rows alone. Every network is tuned by our one training loop with
the same options and seed; distillation, for which the pruned network's own original is the teacher, is a column of its own,
of as many epochs but at a smaller rate. What is claimed of the tuned networks is the better of the two; the table
shows both, and plain fine-tuning alone is no better than the peer's at 2x.
Ours are pruned with PruneChannels' defaults but for budget and criterion. Criterion, saving_exponent and the ridge of the
fit were compared on pictures 46,000 to 47,000 of the training split (which the network was trained on, as on all of
them, and which no calibration here reads), by divergence from the unpruned network's answers; never on the
evaluation split. One core needs about one hour; what is finished is kept and found again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import _peer_pruning as peer  # type: ignore[import-not-found]  # beside this script, not in the package
from _pruning_bench import (  # type: ignore[import-not-found]  # the same
    TUNINGS,
    Bench,
    Variant,
)
from _suite import (  # type: ignore[import-not-found]  # the same
    arguments,
    check,
    reference_networks,
)

from edgepress import convert, runtime
from edgepress.benchmarks import Protocol, compare, ratio
from edgepress.cli._console import print_table, remark

SPEEDUPS = (2, 3)
"""Times fewer multiply-accumulates."""

LEAST_BEFORE_TUNING = 60.0
LEAST_LEAD_POINTS = 0.5
SMALLEST_LATENCY_RATIO = 1.25
"""How many times faster the network with half of the multiply-accumulates has to be."""

COLUMNS = ["network", "MACs M", "parameters", "before tuning", *TUNINGS, "plan, CPU s", "ORT speed-up"]


def main() -> bool:
    given = arguments(__doc__ or "", {"quick": "no tuning", "taylor": "tune the Taylor variants too"})
    networks = reference_networks()
    bench = Bench(networks.resnet20(), networks.cifar10(), given.out / "pruning", given.evaluate)
    if not peer.is_installed():
        remark(f"without the peer, which is not installed: {peer.HOW_TO_GET_IT}")
    found = [variant for variant in variants() if variant.maker == "edgepress" or peer.is_installed()]
    for variant in found:
        bench.accuracy(bench.pruned(variant))
        if variant.maker != "edgepress":
            bench.accuracy(bench.recalibrated(variant.key))
    for variant in [] if given.quick else found:
        for tuning in TUNINGS if variant.maker == "edgepress" else ("fine_tune",):
            if variant.criterion == "l2" or given.taylor:
                bench.accuracy(bench.tuned(variant.key, tuning))
    faster = speedups(bench, found)
    print_table(COLUMNS, [row(bench, variant, faster[variant]) for variant in found])
    return all(list(claims(bench, found, faster)))


def variants() -> Iterator[Variant]:
    for speedup in SPEEDUPS:
        for criterion in ("l2", "taylor"):
            yield Variant("edgepress", criterion, speedup)
            yield Variant("Torch-Pruning", criterion, speedup)


def speedups(bench: Bench, variants: list[Variant]) -> dict[Variant, float]:
    """How many times faster than the unpruned network each is on ONNX Runtime, from interleaved rounds."""
    folder = bench.folder / "onnx"
    files = [convert.to(bench.program, "onnx", folder / "original.onnx")]
    files += [
        convert.to(bench.load(variant.key), "onnx", folder / f"{variant.key}.onnx") for variant in variants
    ]
    original, *others = compare([runtime.open(file) for file in files], Protocol())
    return {
        variant: 1 / ratio(original, other).value for variant, other in zip(variants, others, strict=True)
    }


def row(bench: Bench, variant: Variant, faster: float) -> list[str]:
    figures = bench.figures[variant.key]
    before = f"{figures['top1']:.2f}"
    if variant.maker != "edgepress":
        before += f" ({bench.figures[f'{variant.key}_recalibrated']['top1']:.2f} recalibrated)"
    after = [bench.figures.get(f"{variant.key}_{tuning}", {}).get("top1") for tuning in TUNINGS]
    return [
        str(variant),
        f"{figures['macs'] / 1e6:.2f}",
        f"{figures['parameters']:,.0f}",
        before,
        *("" if top1 is None else f"{top1:.2f}" for top1 in after),
        f"{_plan_seconds(bench, variant):.2f}",
        f"{faster:.2f}",
    ]


def claims(bench: Bench, variants: list[Variant], faster: dict[Variant, float]) -> Iterator[bool]:
    for speedup in SPEEDUPS:
        ours, theirs = Variant("edgepress", "l2", speedup), Variant("Torch-Pruning", "l2", speedup)
        if speedup == min(SPEEDUPS):
            before = bench.accuracy(ours.key)
            yield check(f"top-1 at {speedup}x before tuning", before, LEAST_BEFORE_TUNING, at_most=False)
            yield check(
                f"speed-up at {speedup}x on ONNX Runtime", faster[ours], SMALLEST_LATENCY_RATIO, at_most=False
            )
        if theirs not in variants:
            continue
        yield check(
            f"CPU seconds to plan {speedup}x", _plan_seconds(bench, ours), _plan_seconds(bench, theirs)
        )
        peers = bench.figures.get(f"{theirs.key}_fine_tune", {}).get("top1")
        tuned = {tuning: bench.figures.get(f"{ours.key}_{tuning}", {}).get("top1") for tuning in TUNINGS}
        found = {tuning: top1 for tuning, top1 in tuned.items() if top1 is not None}
        if found and peers is not None:
            best = max(found, key=lambda tuning: found[tuning])
            claim = f"points above the peer at {speedup}x after tuning ({best})"
            yield check(claim, found[best] - peers, LEAST_LEAD_POINTS, at_most=False)


def _plan_seconds(bench: Bench, variant: Variant) -> float:
    """Scores and search, until it is known which channels go, in CPU seconds."""
    seconds: float = bench.figures[variant.key]["plan_seconds"]
    return seconds


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

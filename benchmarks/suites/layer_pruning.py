"""Fewer layers beside thinner layers: ResNet-20 on CIFAR-10 to the same multiply-accumulates, on calibration pictures alone.

python benchmarks/suites/layer_pruning.py --data FOLDER [--evaluate 1000]

Neither is trained afterwards, so what the table shows is what the choice and the least-squares fit are worth. One core
needs about ten minutes.
"""

from __future__ import annotations

import sys

from _suite import arguments, check, reference_networks  # type: ignore[import-not-found]  # beside this script

from edgepress import compress, convert, runtime
from edgepress.accuracy import evaluate
from edgepress.benchmarks import Protocol, compare, ratio
from edgepress.cli._console import print_table, remark
from edgepress.compress.prune_channels import PruneChannels
from edgepress.compress.prune_layers import PruneLayers
from edgepress.cost import measure
from edgepress.program import Program
from edgepress.recipe import Recipe

BUDGETS = (0.8, 0.65)
MOST_LOST_POINTS = 3.0
"""At the larger budget, of the 88.7 % that the network had."""


def main() -> bool:
    given = arguments(__doc__ or "")
    networks = reference_networks()
    original, data = networks.resnet20(), networks.cifar10()
    programs: dict[str, Program] = {"original": original}
    for macs in BUDGETS:
        for stage in (PruneLayers(macs=macs), PruneChannels(macs=macs)):
            name = f"{stage.name()} macs={macs}"
            remark(f"{name} ...")
            programs[name] = compress.apply(original, Recipe((stage,)), data)
    top1 = {
        name: evaluate(program.run, data, program.preprocess, limit=given.evaluate).percent
        for name, program in programs.items()
    }
    files = [
        convert.to(program, "onnx", given.out / "layer_pruning" / f"{number}.onnx")
        for number, program in enumerate(programs.values())
    ]
    first, *others = compare([runtime.open(file) for file in files], Protocol())
    ratios = [1.0] + [ratio(first, other).value for other in others]
    rows = [
        [name, f"{measure(program).macs / 1e6:.2f}", f"{top1[name]:.2f}", f"{ratio:.2f}"]
        for (name, program), ratio in zip(programs.items(), ratios, strict=True)
    ]
    print_table(["network", "MACs M", "top-1 %", "latency, x original"], rows)
    lost = top1["original"] - top1[f"prune_layers macs={BUDGETS[0]}"]
    return bool(check(f"points lost at macs={BUDGETS[0]}, untrained", lost, MOST_LOST_POINTS))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

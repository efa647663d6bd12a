"""What a reader must know before believing a latency, as sentences that travel with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepress.benchmarks._environment import Environment
from edgepress.benchmarks._measurement import Measurement
from edgepress.benchmarks._ratio import Ratio, are_comparable, ratio

LARGE_SPREAD = 0.10
SMALL_CPU_SHARE = 0.90
LARGE_CPU_SHARE = 1.20
MEANINGFUL_MACS_FALL = 0.10


def of_samples(latency_ms: tuple[float, ...], wanted: int) -> list[str]:
    """Too few samples, or samples that scatter."""
    found = []
    if len(latency_ms) < wanted:
        found.append(f"Only {len(latency_ms)} of {wanted} runs fitted into the time allowed.")
    low, middle, high = np.percentile(latency_ms, (25, 50, 75))
    if (high - low) / middle > LARGE_SPREAD:
        found.append(f"The middle half of the runs spans {(high - low) / middle:.0%} of the median.")
    return found


def of_processor(cpu_share: float, threads: int) -> list[str]:
    """One thread that did not have one core to itself, or that was not one. More threads wait for one another."""
    if threads != 1:
        return []
    if cpu_share < SMALL_CPU_SHARE:
        return [f"Other work took the processor: this run had it for {cpu_share:.0%} of the time."]
    if cpu_share > LARGE_CPU_SHARE:
        return [f"The runtime used {cpu_share:.1f} cores although one thread was asked for."]
    return []


def of_disturbed_ratio(latency: Ratio, baseline: Measurement, other: Measurement) -> list[str]:
    """What the ratio would be without other work: preemption hits long invocations more than short ones."""
    if baseline.threads != 1 or not baseline.cpu_ms or not other.cpu_ms:
        return []
    if all((measured.cpu_share or 1) >= SMALL_CPU_SHARE for measured in (baseline, other)):
        return []
    by_processor = other.cpu_ms / baseline.cpu_ms
    if latency.low <= by_processor <= latency.high:
        return []
    return [
        f"Other work distorts this ratio of {latency.value:.2f}: by processor time it is {by_processor:.2f}."
    ]


def of_environment(environment: Environment) -> list[str]:
    """A machine that was already busy."""
    load = environment.load_average
    if load is None or load[0] <= environment.usable_cores:
        return []
    return [f"The machine was busy: load average {load[0]:.1f} on {environment.usable_cores:g} cores."]


def is_emulated(runner: str, precision: str) -> bool:
    """PyTorch executes quantize and dequantize nodes one by one, and everything between them in float."""
    return (runner, precision) == ("torch", "int8")


EMULATED = "PyTorch only emulates int8, so its latency tells nothing about the network's."


def integer_warning(before: str, after: str, latency: Ratio, of: str = "the original") -> list[str]:
    """The sentence to show when a network became integers (the precisions `before` and `after`) and is slower than float
    on this very target: its whole interval lies above 1. `of` says which float file that is."""
    if before == "int8" or after != "int8" or latency.low <= 1:
        return []
    return [
        f"INT8 is slower than float here: {latency.value:.2f} times the latency of {of} ({latency.low:.2f} to "
        f"{latency.high:.2f}); the processor may lack 8-bit dot products, or the runtime integer kernels (edgepress forms)."
    ]


def of_integers(measured: Measurement, others: Sequence[Measurement]) -> list[str]:
    """What to say of an int8 file beside the first of `others` that is not, under the same conditions."""
    floats = (
        other
        for other in others
        if other.precision != "int8"
        and other.conditions == measured.conditions
        and are_comparable(other, measured)
    )
    first = next(floats, None)
    if first is None or measured.precision != "int8":
        return []
    if is_emulated(measured.runner, measured.precision):
        return [EMULATED]
    return integer_warning(first.precision, measured.precision, ratio(first, measured), first.name)


def cost_warning(macs_before: int, macs_after: int, latency: Ratio) -> list[str]:
    """The sentence to show when MACs fell by a tenth or more and latency did not; nothing otherwise.

    Latency counts as fallen when its whole interval lies below 1.
    """
    if not macs_before:
        return []
    fall = 1 - macs_after / macs_before
    if fall < MEANINGFUL_MACS_FALL or latency.high < 1:
        return []
    return [
        f"MACs fell by {fall:.0%} but latency did not: it is {latency.value:.2f} times the original's "
        f"({latency.low:.2f} to {latency.high:.2f})."
    ]

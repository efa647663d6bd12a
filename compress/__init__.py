"""Compression: one file a method, each a Stage from Program to Program, applied in a recipe's order."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgepress import graph, models
from edgepress import options as option_values
from edgepress.compress._channels.sensitivity import ChannelScan, scan_channels
from edgepress.compress._channels.suggestion import equal_drops
from edgepress.compress._quantization.sensitivity import scan_quantization
from edgepress.compress._sharing.keep import still_shared
from edgepress.data import Data
from edgepress.errors import BadInput, BadOption, UnsupportedModel, UsageError
from edgepress.history import Step
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.recipe import Recipe
from edgepress.stage import Context, Stage
from edgepress.stopwatch import Stopwatch

__all__ = [
    "ChannelScan",
    "Finished",
    "apply",
    "check",
    "equal_drops",
    "scan_channels",
    "scan_quantization",
    "stages",
]


@dataclass(frozen=True)
class Finished:
    """A stage that has run: the program it made, with the stage as the last step of its history."""

    stage: Stage
    program: Program
    seconds: float


def apply(
    program: Program,
    recipe: Recipe,
    data: Data | None = None,
    *,
    progress: Progress = silent,
    seed: int = 0,
    stopwatch: Stopwatch | None = None,
) -> Program:
    """Run all stages of the recipe. `program` stays as it is.

    `stopwatch` times networks for the stages that need it: edgepress.latency.TargetStopwatch().
    """
    context = Context(
        original=program,
        load_model=models.load,
        data=data,
        progress=progress,
        seed=seed,
        stopwatch=stopwatch,
    )
    check(program, recipe, data, stopwatch)
    for finished in stages(program, recipe, context):
        program = finished.program
    return program


def stages(program: Program, recipe: Recipe, context: Context) -> Iterator[Finished]:
    """Run the stages one after another, yielding after each, so that the caller can save it.

    The context's rules are the recipe's. Whoever calls this has called `check` for `program` before; what the stages
    make of it is checked on the way.
    """
    context = dataclasses.replace(context, rules=recipe.rules)
    for stage in recipe.stages:
        if program is not context.original:
            stage.check(program)
        started = time.perf_counter()
        outcome = stage.apply(program, context)
        _announce_unshared(stage, program, outcome.program, context)
        step = Step(stage.name(), option_values.to_mapping(stage), outcome.results)
        program = outcome.program.with_step(step)
        yield Finished(stage, program, time.perf_counter() - started)


def _announce_unshared(stage: Stage, before: Program, after: Program, context: Context) -> None:
    """Say which weights shared a few values until this stage gave them more."""
    lost = still_shared(before, before.history) - still_shared(after, before.history)
    if lost:
        context.announce(
            f"{stage.name()} undid the shared values of {len(lost)} weights ({min(lost)}, ...): share_weights goes after it."
        )


def check(
    program: Program,
    recipe: Recipe,
    data: Data | None,
    stopwatch: Stopwatch | None = None,
    load_model: Callable[[str], Program] = models.load,
) -> None:
    """Raise before any work what would be raised after hours: missing data, unsupported networks and targets,
    teachers that are not there or do not fit, rules that match nothing."""
    if not recipe.stages:
        raise UsageError("The recipe has no stages.", hint="edgepress stages lists them")
    for stage in recipe.stages:
        # Stages built in Python come unchecked; a recipe's have been through this.
        values = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        option_values.build(type(stage), values, where=stage.name())
    recipe.rules.check(recipe.stages, graph.layers(program.graph_module()))
    _check_order(program, recipe)
    for stage in recipe.stages:
        for split in sorted(stage.needs()):
            if data is None:
                raise UsageError(
                    f"The stage {stage.name()} needs data to {split} with.",
                    hint="--data folder:DIR, or another",
                )
            if data.count(split) == 0:
                raise BadInput(
                    f"The data holds nothing to {split} with.",
                    where=data.name,
                    hint='put samples into that split: a function may return {"train": ..., "evaluate": ...}',
                )
        if stage.requires_labels() and data is not None:
            _check_labelled(stage, program, data)
        stage.check(program)
        for teacher in sorted(stage.teachers()):
            _check_teacher(f"{stage.name()} teacher={teacher}", load_model(teacher), program)
        _check_targets(stage, program, stopwatch)


def _check_order(program: Program, recipe: Recipe) -> None:
    """Raise UnsupportedModel when a stage that works on float weights would get a quantized network."""
    quantized_by = "the network already is" if program.quantized is not None else ""
    for number, stage in enumerate(recipe.stages, 1):
        if quantized_by and not stage.takes_int8:
            raise UnsupportedModel(
                f"{stage.name()} works on float weights, not on a quantized network.",
                where=f"stage {number} of the recipe; quantized: {quantized_by}",
                hint=f"put {stage.name()} before the quantization, which goes last, or start from the float network",
            )
        if stage.makes_int8:
            quantized_by = f"by stage {number}, {stage.name()}"


def _check_teacher(where: str, teacher: Program, student: Program) -> None:
    for side in ("inputs", "outputs"):
        theirs = [spec.shape for spec in getattr(teacher.signature, side)]
        ours = [spec.shape for spec in getattr(student.signature, side)]
        if theirs != ours:
            raise BadOption(
                f"The teacher's {side} {theirs} differ from the student's {ours}.",
                where=where,
                hint="a teacher with the same input size and the same number of classes",
            )


def _check_targets(stage: Stage, program: Program, stopwatch: Stopwatch | None) -> None:
    for target in sorted(stage.times_on()):
        if stopwatch is None:
            raise UsageError(
                f"The stage {stage.name()} times networks on {target}, and has nothing to time them with.",
                hint="compress.apply(..., stopwatch=edgepress.latency.TargetStopwatch())",
            )
        stopwatch.check(program, target)


def _check_labelled(stage: Stage, program: Program, data: Data) -> None:
    first = next(iter(data.batches("train", program.preprocess, batch_size=1, limit=1)))
    if first.labels is None:
        raise BadInput(
            f"The stage {stage.name()} needs labels, and this data has none.",
            where=data.name,
            hint="use class folders, or distill from a teacher, which needs no labels",
        )

"""A compression run in a folder: saved after every stage, so that an interrupted one can go on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgepress import compress, convert, cost
from edgepress.accuracy import Score, can_evaluate, evaluate
from edgepress.cli._reading import load
from edgepress.data import Data, check_labels
from edgepress.deflate import deflated_bytes
from edgepress.errors import BadInput, UsageError
from edgepress.latency import TargetStopwatch
from edgepress.program import Program
from edgepress.progress import Progress
from edgepress.recipe import Recipe
from edgepress.result import (
    RECIPE_FILE,
    RESULT_FILE,
    AccuracyChange,
    LayerFacts,
    NetworkFacts,
    RunResult,
    StageResult,
)
from edgepress.stage import Context
from edgepress.stopwatch import Stopwatch

ORIGINAL, MODEL = "original.pt2", "model.pt2"
TRAINING = "training.pt"
"""The state of a training that is not done yet."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What to do and where. `model` and `data_text` are the user's words for the result; at most
    `evaluate_limit` samples are evaluated after each stage. What `formats` cannot express is refused first."""

    folder: Path
    recipe: Recipe
    data: Data | None = None
    model: str = ""
    data_text: str = ""
    seed: int = 0
    evaluate_limit: int | None = None
    formats: tuple[str, ...] = ()
    stopwatch: Stopwatch = field(default_factory=TargetStopwatch)
    load_model: Callable[[str], Program] = field(default_factory=lambda: functools.cache(load))

    def start(self, program: Program, progress: Progress, announce: Callable[[str], None]) -> RunResult:
        """Run the whole recipe on `program`."""
        self._check_stages(program, self.recipe)
        self._check_formats(program)
        if self.data is not None:
            check_labels(self.data, program.signature)
            program = dataclasses.replace(program, labels=program.labels or self.data.class_names)
        accuracy = self._accuracy(program, progress)
        for left in (MODEL, TRAINING):
            (self.folder / left).unlink(missing_ok=True)
        self.recipe.save(self.folder / RECIPE_FILE)
        before = facts(program, program.save(self.folder / ORIGINAL).manifest.size_bytes, accuracy)
        result = RunResult(model=self.model, data=self.data_text, original=before, compressed=before)
        return self._stages(program, program, result, progress, announce)

    def resume(self, progress: Progress, announce: Callable[[str], None]) -> RunResult:
        """Go on after the last stage that the run in this folder finished."""
        if not (self.folder / ORIGINAL).exists():
            raise UsageError(
                "There is nothing to resume.", where=str(self.folder), hint="run without --resume"
            )
        if Recipe.load(self.folder / RECIPE_FILE) != self.recipe:
            raise UsageError(
                "The run in this folder has another recipe.",
                where=str(self.folder / RECIPE_FILE),
                hint="give the same stages again, or another folder",
            )
        result = RunResult.load(self.folder)
        if (result.model, result.data) != (self.model, self.data_text):
            raise UsageError(
                f"The run in this folder was made from {result.model} with {result.data or 'no data'}.",
                where=str(self.folder),
                hint="give the same MODEL and --data again, or another folder",
            )
        original = Program.load(self.folder / ORIGINAL)
        program = Program.load(self.folder / MODEL) if result.stages else original
        done = tuple(stage.name for stage in result.stages)
        if program.history.names() != (*original.history.names(), *done):
            raise BadInput(
                f"{MODEL} is not what {RESULT_FILE} says of it.",
                where=str(self.folder),
                hint="run again with --overwrite in place of --resume",
            )
        if (left := self._left(result)).stages:
            self._check_stages(original, left)
        self._check_formats(original)
        announce(f"{len(result.stages)} of {len(self.recipe.stages)} stages were finished before")
        return self._stages(original, program, result, progress, announce)

    def _left(self, result: RunResult) -> Recipe:
        """The stages that are not done."""
        return dataclasses.replace(self.recipe, stages=self.recipe.stages[len(result.stages) :])

    def _check_stages(self, program: Program, recipe: Recipe) -> None:
        compress.check(program, recipe, self.data, self.stopwatch, self.load_model)

    def _check_formats(self, program: Program) -> None:
        convert.check_all(program, self.formats, here=False)

    def _stages(
        self,
        original: Program,
        program: Program,
        result: RunResult,
        progress: Progress,
        announce: Callable[[str], None],
    ) -> RunResult:
        result.save(self.folder)
        left = self._left(result)
        if not left.stages:
            return result
        context = Context(
            original=original,
            load_model=self.load_model,
            data=self.data,
            progress=progress,
            announce=announce,
            seed=self.seed,
            stopwatch=self.stopwatch,
            checkpoint=self.folder / TRAINING,
        )
        for finished in compress.stages(program, left, context):
            # Evaluating takes long. Between the two files nothing may: interrupted there, they would disagree.
            accuracy = self._accuracy(finished.program, progress)
            artifact = finished.program.save(self.folder / MODEL)
            after = facts(finished.program, artifact.manifest.size_bytes, accuracy)
            stage = _stage_result(finished, result.compressed, after)
            result = dataclasses.replace(result, compressed=after, stages=(*result.stages, stage))
            result.save(self.folder)
            (self.folder / TRAINING).unlink(missing_ok=True)
            announce(_line(stage))
        return result

    def _accuracy(self, program: Program, progress: Progress) -> Score | None:
        if self.data is None or not can_evaluate(self.data, program.preprocess):
            return None
        return evaluate(
            program.run,
            self.data,
            program.preprocess,
            reading=program.reading,
            limit=self.evaluate_limit,
            progress=progress,
        )


def holds_run(folder: Path) -> bool:
    """Whether writing a run into the folder would cost something: a finished stage, or files of another origin."""
    return (folder / MODEL).exists() or ((folder / ORIGINAL).exists() and not (folder / RESULT_FILE).exists())


def facts(program: Program, size_bytes: int, accuracy: Score | None = None) -> NetworkFacts:
    """What result.json says of a network."""
    measured = cost.measure(program)
    return NetworkFacts(
        parameters=measured.parameters,
        nonzero=measured.nonzero,
        macs=measured.macs,
        weight_bytes=measured.weight_bytes,
        deflated_bytes=deflated_bytes(program),
        size_bytes=size_bytes,
        accuracy=accuracy,
        layers=tuple(
            LayerFacts(
                name=layer.name,
                type=layer.type,
                parameters=layer.parameters,
                nonzero=layer.nonzero,
                macs=layer.macs,
                weight_bytes=layer.weight_bytes,
            )
            for layer in measured.layers
        ),
    )


def _stage_result(finished: compress.Finished, before: NetworkFacts, after: NetworkFacts) -> StageResult:
    step = finished.program.history.steps[-1]
    return StageResult(
        **after.totals(),  # type: ignore[arg-type]  # the fields that both share
        name=step.name,
        options=step.options,
        accuracy=AccuracyChange(before=before.accuracy, after=after.accuracy),
        seconds=finished.seconds,
        results=step.results,
    )


def _line(stage: StageResult) -> str:
    accuracy = stage.accuracy.after
    measured = f", {accuracy.name} {accuracy.percent:.2f} %" if accuracy else ""
    return (
        f"{stage.name}: {stage.parameters:,} parameters, {stage.macs / 1e6:.2f} M MACs, "
        f"{stage.size_bytes / 1e6:.2f} MB{measured}, {stage.seconds:.1f} s"
    )

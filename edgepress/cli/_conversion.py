"""Converting and verifying belong together: no file counts as done before its own runtime has run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepress import convert, runtime
from edgepress.accuracy import Score, can_evaluate, evaluate
from edgepress.artifact import Artifact, Precision, Verification
from edgepress.cli._console import remark
from edgepress.cli._described import figures_text
from edgepress.cli._layers import layer_report
from edgepress.cli._own_agreement import own_sqnr_db
from edgepress.data import Data
from edgepress.errors import (
    BackendMissing,
    EdgepressError,
    Unsupported,
    UnsupportedTarget,
    VerificationFailed,
)
from edgepress.history import Value
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.runtime import Comparison, Runner, compare, limit_agreement, limit_db
from edgepress.signature import Signature
from edgepress.sqnr import bounded

Arrays = tuple[np.ndarray, ...]

SAMPLES = 32
"""How many samples a conversion is compared on."""
BATCH = 8
"""So many are in memory at once."""


@dataclass(frozen=True)
class Scored:
    """That accuracies are wanted, on the first `limit` evaluation samples (None: all)."""

    limit: int | None = None


@dataclass(frozen=True)
class Scores:
    """What every file's accuracy is measured on, and the network's own."""

    data: Data
    limit: int | None
    reference: Score

    @classmethod
    def of(cls, program: Program, data: Data | None, scored: Scored, progress: Progress) -> Scores | None:
        """None without labelled data."""
        if data is None or not can_evaluate(data, program.preprocess):
            return None
        reference = evaluate(
            program.run,
            data,
            program.preprocess,
            reading=program.reading,
            limit=scored.limit,
            progress=progress,
        )
        return cls(data, scored.limit, reference)

    def figures(self, runner: Runner, preprocess: Preprocess | None) -> dict[str, Value]:
        reading = runner.artifact.manifest.reading
        after = evaluate(runner.run, self.data, preprocess, reading=reading, limit=self.limit)
        return accuracy_figures(self.reference, after)


@dataclass(frozen=True)
class Converted:
    """The files that were written and verified, and of every other format why it was not."""

    made: list[Artifact]
    refused: dict[str, EdgepressError]


def convert_all(
    program: Program,
    paths: Mapping[str, Path],
    *,
    data: Data | None = None,
    progress: Progress = silent,
) -> list[Artifact]:
    """Write the program in each format (a key of `paths`) and verify each file on its own runtime.

    What any of the formats cannot express, and what is wrong with the data, is said before the first is written.
    """
    convert.check_all(program, tuple(paths))
    converted = _convert(program, paths, {}, data, None, progress)
    if converted.refused:
        raise convert.refusals(converted.refused, [artifact.format for artifact in converted.made])
    return converted.made


def convert_each(
    program: Program,
    paths: Mapping[str, Path],
    *,
    options: Mapping[str, Mapping[str, Value]] | None = None,
    data: Data | None = None,
    scored: Scored | None = None,
    progress: Progress = silent,
) -> Converted:
    """As `convert_all`, but a format that cannot take the network keeps none of the others from being written. Where none
    can, that is raised before any work, and so is a package that is missing, for it can be installed. Where `scored`, on
    labelled data, each file's accuracy is put on record as well."""
    options = options or {}
    refused = convert.refused(program, {format: options.get(format) for format in paths})
    able = {format: path for format, path in paths.items() if format not in refused}
    missing = {format: error for format, error in refused.items() if isinstance(error, BackendMissing)}
    if missing or not able:
        raise convert.refusals(missing or refused)
    converted = _convert(program, able, options, data, scored, progress)
    return Converted(converted.made, refused | converted.refused)


def _convert(
    program: Program,
    paths: Mapping[str, Path],
    options: Mapping[str, Mapping[str, Value]],
    data: Data | None,
    scored: Scored | None,
    progress: Progress,
) -> Converted:
    """Refused is here what a maker's tool could not write after all: only trying tells."""
    inputs = tuple(batches(program.signature, program.preprocess, data))
    for batch in inputs:
        program.signature.check_inputs(batch)
    scores = Scores.of(program, data, scored, progress) if scored else None
    converted = Converted([], {})
    for done, (format, path) in enumerate(paths.items()):
        progress(f"converting: {format}", done, len(paths))
        try:
            artifact = convert.to(program, format, path, options.get(format))
        except (Unsupported, BackendMissing) as error:
            converted.refused[format] = error
        else:
            converted.made.append(verify(program, artifact, inputs, scores))
    return converted


def verify(
    program: Program, artifact: Artifact, inputs: Sequence[Arrays], scores: Scores | None = None
) -> Artifact:
    """Compare the artifact's outputs with the program's and put the outcome on record in its manifest."""
    try:
        with runtime.open(artifact) as runner:
            comparison = compare(program.run, runner.run, inputs, program.reading)
            precisions = (program.precision, artifact.manifest.precision)
            passed = comparison.within(limit_db(*precisions), limit_agreement(*precisions))
            results = figures(comparison, *precisions)
            results |= scores.figures(runner, program.preprocess) if scores else {}
            if not passed:
                results |= own_figures(own_sqnr_db(program, inputs[0])) | _departing(program, runner, inputs)
    except (BackendMissing, UnsupportedTarget) as error:
        return artifact.verified(Verification(status="skipped", results={"reason": error.on_one_line()}))
    except EdgepressError as error:
        return artifact.verified(Verification(status="failed", results={"reason": error.on_one_line()}))
    return artifact.verified(
        Verification(
            status="passed" if passed else "failed",
            runner=runner.name(),
            reference="program",
            results=results,
        )
    )


def require_verified(artifacts: Sequence[Artifact]) -> None:
    """Raise VerificationFailed when any file departs too far from the network it was made from, BackendMissing when
    any could not be run at all: what was not verified is no success."""
    failed, skipped = _having("failed", artifacts), _having("skipped", artifacts)
    if failed:
        raise VerificationFailed(
            f"{len(failed)} of {len(artifacts)} files failed their verification.",
            where="; ".join(f"{artifact.path}: {_told(artifact)}" for artifact in failed),
            hint="do not ship these files: their manifests mark them as failed",
        )
    if skipped:
        raise BackendMissing(
            f"{len(skipped)} of {len(artifacts)} files were written but not verified.",
            where="; ".join(f"{artifact.path}: {_told(artifact)}" for artifact in skipped),
            hint="install the runtime and convert again, or edgepress verify the file where it is installed",
        )


def require_done(converted: Converted) -> None:
    """As `require_verified`, and what the refused formats raised: told beside files that failed, the worse news, but
    before files that could not be run."""
    if not converted.refused:
        return require_verified(converted.made)
    refused = convert.refusals(converted.refused, [artifact.format for artifact in converted.made])
    if _having("failed", converted.made):
        remark(str(refused))
        require_verified(converted.made)
    raise refused


def batches(
    signature: Signature, preprocess: Preprocess | None, data: Data | None, samples: int = SAMPLES
) -> Iterator[Arrays]:
    """Inputs to compare on: evaluation samples of the data, or random ones."""
    if data is None:
        for first in range(0, samples, BATCH):
            yield signature.example(min(BATCH, samples - first), first // BATCH)
    else:
        for batch in data.batches("evaluate", preprocess, batch_size=BATCH, limit=samples):
            yield batch.inputs


def figures(comparison: Comparison, reference: Precision, candidate: Precision) -> dict[str, Value]:
    """The figures as JSON has them, and their limits: it knows no infinity, so bit-equal outputs count as 999 dB."""
    found = {key: value for key, value in dataclasses.asdict(comparison).items() if value is not None}
    outputs = found.pop("output_sqnr_db")
    told: dict[str, Value] = {key: bounded(value) for key, value in found.items()}
    if len(outputs) > 1:
        told["output_sqnr_db"] = [round(bounded(value), 1) for value in outputs]
    if comparison.found_agreement is not None:
        told["limit_agreement"] = limit_agreement(reference, candidate)
    return told | {"limit_db": limit_db(reference, candidate)}


def own_figures(own_db: float | None) -> dict[str, Value]:
    """How far the network agrees with itself, computed in float64: by much more, its files cannot."""
    return {} if own_db is None else {"own_sqnr_db": bounded(own_db)}


def accuracy_figures(before: Score, after: Score) -> dict[str, Value]:
    """Top-1, mAP or mIoU of the reference and of the file, and the points that it lost."""
    key = before.name.lower().replace("-", "")
    return {
        f"{key}_reference": before.percent,
        f"{key}_candidate": after.percent,
        f"{key}_drop": before.percent - after.percent,
    }


def _departing(program: Program, runner: Runner, inputs: Sequence[Arrays]) -> dict[str, Value]:
    """The user's layer from which on the file departs, where the runtime tells: what is wrong with the file is on
    record without it."""
    precisions = (program.precision, runner.artifact.manifest.precision)
    try:
        report = layer_report(program.layer_outputs, runner.layer_outputs, inputs[0], precisions)
    except EdgepressError:
        return {}
    return {"first_departing_layer": report.departing.layer} if report.departing else {}


def _having(status: str, artifacts: Sequence[Artifact]) -> list[Artifact]:
    """A .pt2, which is the network itself, has no verification."""
    return [
        each
        for each in artifacts
        if each.manifest.verification and each.manifest.verification.status == status
    ]


def _told(artifact: Artifact) -> str:
    """The reason or the figures on record, in one line."""
    verification = artifact.manifest.verification
    results = verification.results if verification else {}
    return str(results["reason"]) if "reason" in results else figures_text(results)

"""Compare a file's outputs (and accuracy) with those of the network it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table, progress_bar
from edgepress.cli._inputs import DataInput, data_options

if TYPE_CHECKING:
    from edgepress.accuracy import Accuracy
    from edgepress.artifact import Artifact, Verification
    from edgepress.data import Data
    from edgepress.errors import EdgepressError
    from edgepress.progress import Progress
    from edgepress.runtime import Comparison


@dataclass(frozen=True)
class Verdict:
    """What the comparison of two artifacts gave; the accuracies are None without labelled data."""

    comparison: Comparison
    limit_db: float
    before: Accuracy | None = None
    after: Accuracy | None = None

    @property
    def drop(self) -> float | None:
        """Points of top-1 lost."""
        return self.before.top1 - self.after.top1 if self.before and self.after else None

    def error(self, max_drop: float | None, candidate: Path) -> EdgepressError | None:
        """Why the candidate is not good enough: its drop where a limit is given, else its outputs."""
        from edgepress.errors import VerificationFailed

        if max_drop is None or self.drop is None:
            return self.comparison.error(self.limit_db, where=str(candidate))
        if self.drop <= max_drop:
            return None
        return VerificationFailed(
            f"The accuracy fell by {self.drop:.2f} points, more than {max_drop}.",
            where=str(candidate),
            hint="train longer after pruning, calibrate with more samples, or leave sensitive layers in float",
        )


@click.command()
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_options
@click.option(
    "--max-drop", type=float, help="Points of top-1 accuracy that CANDIDATE may lose; needs --data."
)
@click.option("--samples", default=256, show_default=True, type=click.IntRange(1), help="Samples to compare.")
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples for the accuracy.  [default: all]")
@json_option
def command(
    reference: Path,
    candidate: Path,
    data: DataInput,
    max_drop: float | None,
    samples: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Run REFERENCE and CANDIDATE (a .pt2 or a converted file) on the same inputs, each on its own runtime.

    The outputs must agree as closely as the two precisions allow; with --max-drop, the accuracy on
    --data decides instead. When they do not, the exit code is 4 and CANDIDATE's manifest says "failed".
    """
    from edgepress.artifact import Artifact
    from edgepress.errors import UsageError

    if max_drop is not None and math.isnan(max_drop):
        raise UsageError("nan is no number of points.", where="--max-drop", hint="--max-drop 1.0")
    if max_drop is not None and data.text is None:
        raise UsageError(
            "--max-drop compares accuracies, which needs data.", hint="--data folder:DIR, or another"
        )
    first, second = Artifact.open(reference), Artifact.open(candidate)
    with progress_bar() as progress:
        verdict = _compare(first, second, data.open(), Limits(samples, limit), progress)
    if max_drop is not None and verdict.drop is None:
        raise UsageError("--max-drop compares accuracies, and this data has no labels.", where=str(data.text))
    error = verdict.error(max_drop, candidate)
    second.verified(_record(verdict, first, second, passed=error is None))
    _show(verdict, as_json, passed=error is None)
    if error is not None:
        raise error


@dataclass(frozen=True)
class Limits:
    """How many samples to compare outputs on, and how many to measure the accuracy on (None: all)."""

    samples: int
    evaluate: int | None


def _compare(
    first: Artifact, second: Artifact, data: Data | None, limits: Limits, progress: Progress
) -> Verdict:
    from edgepress import runtime
    from edgepress.accuracy import can_evaluate, evaluate
    from edgepress.cli._conversion import batches

    manifest = first.manifest
    with runtime.open(first) as reference, runtime.open(second) as candidate:
        inputs = batches(manifest.signature, manifest.preprocess, data, limits.samples)
        comparison = runtime.compare(reference.run, candidate.run, inputs)
        limit_db = runtime.limit_db(manifest.precision, second.manifest.precision)
        if data is None or not can_evaluate(data, manifest.preprocess):
            return Verdict(comparison, limit_db)
        accuracies = [
            evaluate(runner.run, data, manifest.preprocess, limit=limits.evaluate, progress=progress)
            for runner in (reference, candidate)
        ]
    return Verdict(comparison, limit_db, *accuracies)


def _record(verdict: Verdict, first: Artifact, second: Artifact, *, passed: bool) -> Verification:
    from edgepress.artifact import Verification
    from edgepress.runtime import runners_of

    return Verification(
        status="passed" if passed else "failed",
        runner=runners_of(second.format)[0],
        reference=first.path.name,
        results=_figures(verdict),
    )


def _figures(verdict: Verdict) -> dict[str, Any]:
    from edgepress.cli._conversion import finite

    figures: dict[str, Any] = finite(verdict.comparison) | {"limit_db": verdict.limit_db}
    if verdict.before and verdict.after:
        figures |= {
            "top1_reference": verdict.before.top1,
            "top1_candidate": verdict.after.top1,
            "top1_drop": verdict.drop,
        }
    return figures


def _show(verdict: Verdict, as_json: bool, *, passed: bool) -> None:
    figures = _figures(verdict)
    if as_json:
        print_json({"status": "passed" if passed else "failed", **figures})
        return
    print_table(["figure", "value"], [[key, f"{value:.6g}"] for key, value in figures.items()])
    click.echo("passed" if passed else "failed")

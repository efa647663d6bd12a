"""Compare a file's outputs (and accuracy) with those of the network it came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.cli._console import json_option, print_json, print_table, progress_bar
from edgepress.cli._inputs import DataInput, data_options

if TYPE_CHECKING:
    from edgepress.accuracy import Score
    from edgepress.artifact import Artifact, Precision, Verification
    from edgepress.data import Data
    from edgepress.errors import EdgepressError
    from edgepress.progress import Progress
    from edgepress.runtime import Comparison, LayerReport, Runner, Target


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the comparison of two artifacts of these `precisions` gave. `comparison` is None where the outputs cannot be
    compared at all, for the reason in `broken`; the accuracies are None without labelled data, `layers` unless asked for. The second was
    executed by `runner` on `device`. `own_db` is how far the first agrees with itself,
    where the outputs departed."""

    comparison: Comparison | None
    precisions: tuple[Precision, Precision]
    broken: EdgepressError | None = None
    before: Score | None = None
    after: Score | None = None
    layers: LayerReport | None = None
    runner: str = ""
    device: str = ""
    own_db: float | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """In dB, and in percent of what is found alike."""
        from edgepress.runtime import limit_agreement, limit_db

        return limit_db(*self.precisions), limit_agreement(*self.precisions)

    @property
    def drop(self) -> float | None:
        """Points of top-1, mAP or mIoU lost."""
        return self.before.percent - self.after.percent if self.before and self.after else None

    def error(self, max_drop: float | None, candidate: Path) -> EdgepressError | None:
        """Why the candidate is not good enough: its drop where a limit is given, else its outputs."""
        from edgepress.errors import VerificationFailed

        if self.comparison is None:
            return self.broken
        if max_drop is None or self.drop is None:
            return self.comparison.error(
                *self.limits,
                where=str(candidate),
                layers_told=self.layers is not None,
                own_db=self.own_db,
            )
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
    "--max-drop", type=float, help="Points of top-1 (mAP, mIoU) that CANDIDATE may lose; needs --data."
)
@click.option("--samples", default=256, show_default=True, type=click.IntRange(1), help="Samples to compare.")
@click.option("--evaluate", "limit", type=click.IntRange(1), help="Samples for the accuracy.  [default: all]")
@click.option(
    "--layers", "with_layers", is_flag=True, help="Compare layer by layer, and name the first to depart."
)
@click.option(
    "--on", "target", default="cpu", show_default=True, metavar="TARGET", help="Where CANDIDATE is executed."
)
@click.option("--resume", is_flag=True, help="Go on with what the device answered before it failed.")
@json_option
def command(
    reference: Path,
    candidate: Path,
    data: DataInput,
    max_drop: float | None,
    samples: int,
    limit: int | None,
    with_layers: bool,
    target: str,
    resume: bool,
    as_json: bool,
) -> None:
    """Run REFERENCE and CANDIDATE (a .pt2 or a converted file) on the same inputs, each on its own runtime.

    The outputs must agree as closely as the two precisions allow; with --max-drop, the accuracy on
    --data decides instead. When they do not, the exit code is 4 and CANDIDATE's manifest says "failed".
    --layers compares what happens inside as well, under the names of the user's own modules; where a runtime tells
    its outputs alone, the exit code is 3 and nothing is compared.
    """
    from edgepress.artifact import Artifact
    from edgepress.errors import UsageError
    from edgepress.runtime import Target

    if max_drop is not None and not 0 <= max_drop <= 100:
        raise UsageError(
            f"{max_drop:g} is not a number of percentage points that can be lost.",
            where="--max-drop",
            hint="--max-drop 1.0; from 0 to 100",
        )
    if max_drop is not None and data.text is None:
        raise UsageError(
            "--max-drop compares accuracies, which needs data.", hint="--data folder:DIR, or another"
        )
    first, second = Artifact.open(reference), Artifact.open(candidate)
    _check_same_network(first, second)
    if with_layers:
        _check_tells_layers(first, second)
    extent = Extent(samples, limit, with_layers, resume)
    with progress_bar() as progress:
        verdict = _compare(first, second, Target.parse(target), data.open(), extent, progress)
    if max_drop is not None and verdict.drop is None:
        raise UsageError(
            "--max-drop compares accuracies, and this data has no labels.",
            where=str(data.text),
            hint="data with labels, or leave out --max-drop",
        )
    error = verdict.error(max_drop, candidate)
    second.verified(_record(verdict, first, second, passed=error is None))
    _show(verdict, as_json, passed=error is None)
    if error is not None:
        raise error


@dataclass(frozen=True)
class Extent:
    """How many samples to compare outputs on, how many to measure the accuracy on (None: all), whether to look at the
    layers, and whether what the device answered before counts."""

    samples: int
    evaluate: int | None
    layers: bool
    resume: bool = False


def _check_same_network(first: Artifact, second: Artifact) -> None:
    """Raise BadInput for files that take or give other tensors: they cannot be of one network."""
    from edgepress.errors import BadInput

    one, other = (each.manifest.signature.tensors(at_any_batch=True) for each in (first, second))
    if one != other:
        told = [
            ", ".join(map(str, (*each.manifest.signature.inputs, "gives", *each.manifest.signature.outputs)))
            for each in (first, second)
        ]
        raise BadInput(
            f"{first.path.name} and {second.path.name} do not come from the same network.",
            where=f"{first.path.name} takes {told[0]}; {second.path.name} takes {told[1]}",
            hint="verify a file against the .pt2 that it was converted from",
        )


def _check_tells_layers(*artifacts: Artifact) -> None:
    """Raise UnsupportedTarget, before anything is executed, where a runtime tells no intermediate outputs."""
    from edgepress import runtime

    for artifact in artifacts:
        for name in runtime.runners_of(artifact.format)[:1]:
            runtime.find(name).require_layers()


def _compare(
    first: Artifact,
    second: Artifact,
    target: Target,
    data: Data | None,
    extent: Extent,
    progress: Progress,
) -> Verdict:
    from edgepress import runtime
    from edgepress.accuracy import can_evaluate, evaluate
    from edgepress.cli._answers import kept
    from edgepress.cli._conversion import batches
    from edgepress.cli._layers import layer_report
    from edgepress.errors import VerificationFailed

    manifest = first.manifest
    precisions = (manifest.precision, second.manifest.precision)
    verdict = Verdict(comparison=None, precisions=precisions)
    with (
        runtime.open(first) as reference,
        _opened(second, target) as candidate,
        kept(candidate, resume=extent.resume) as answer,
    ):
        verdict = replace(verdict, runner=candidate.name(), device=target.place)
        inputs = batches(manifest.signature, manifest.preprocess, data, extent.samples)
        try:
            compared = runtime.compare(reference.run, answer, inputs, manifest.reading)
            verdict = replace(verdict, comparison=compared)
            if not compared.within(*verdict.limits):
                verdict = replace(verdict, own_db=_own_db(first, data))
        except VerificationFailed as error:
            broken = VerificationFailed(error.what, where=str(second.path), hint=error.hint)
            verdict = replace(verdict, broken=broken)
        if extent.layers:
            few = next(batches(manifest.signature, manifest.preprocess, data))
            report = layer_report(reference.layer_outputs, candidate.layer_outputs, few, precisions)
            verdict = replace(verdict, layers=report)
        if data is None or verdict.broken or not can_evaluate(data, manifest.preprocess):
            return verdict
        before, after = (
            evaluate(
                run,
                data,
                manifest.preprocess,
                reading=manifest.reading,
                limit=extent.evaluate,
                progress=progress,
            )
            for run in (reference.run, answer)
        )
    return replace(verdict, before=before, after=after)


def _own_db(artifact: Artifact, data: Data | None) -> float | None:
    """How far a network agrees with itself; None of a converted file, which cannot be computed otherwise."""
    from edgepress.artifact import PROGRAM_FORMATS
    from edgepress.cli._conversion import batches
    from edgepress.cli._own_agreement import own_sqnr_db
    from edgepress.program import Program

    if artifact.format not in PROGRAM_FORMATS:
        return None
    program = Program.load(artifact.path)
    return own_sqnr_db(program, next(batches(program.signature, program.preprocess, data)))


@contextmanager
def _opened(artifact: Artifact, target: Target) -> Iterator[Runner]:
    """A runner of the file; that a runtime refuses it is put on record."""
    from edgepress import runtime
    from edgepress.artifact import Verification
    from edgepress.errors import BadInput

    with ExitStack() as stack:
        try:
            runner = stack.enter_context(runtime.open(artifact, target))
        except BadInput as error:
            artifact.verified(Verification(status="failed", results={"reason": error.what}))
            raise
        yield runner


def _record(verdict: Verdict, first: Artifact, second: Artifact, *, passed: bool) -> Verification:
    from edgepress.artifact import Verification

    return Verification(
        status="passed" if passed else "failed",
        runner=verdict.runner,
        reference=first.path.name,
        results=_figures(verdict) | _departing(verdict) | _elsewhere(verdict),
    )


def _elsewhere(verdict: Verdict) -> dict[str, Any]:
    """Which device ran the file, where it was not this one's processor."""
    return {} if verdict.device == "cpu" else {"device": verdict.device}


def _departing(verdict: Verdict) -> dict[str, Any]:
    departing = verdict.layers.departing if verdict.layers else None
    return {"first_departing_layer": departing.layer} if departing else {}


def _figures(verdict: Verdict) -> dict[str, Any]:
    from edgepress.cli._conversion import accuracy_figures, figures, own_figures

    if verdict.comparison is None:
        found: dict[str, Any] = {"reason": verdict.broken.what} if verdict.broken else {}
    else:
        found = figures(verdict.comparison, *verdict.precisions) | own_figures(verdict.own_db)
    if verdict.before and verdict.after:
        found |= accuracy_figures(verdict.before, verdict.after)
    return found


def _show(verdict: Verdict, as_json: bool, *, passed: bool) -> None:
    from edgepress.cli import _layers

    figures, status = _figures(verdict), "passed" if passed else "failed"
    if as_json:
        inside = _layers.as_mapping(verdict.layers) if verdict.layers else {}
        print_json({"status": status, **figures, **inside})
        return
    rows = [
        [key, f"{value:.6g}" if isinstance(value, int | float) else str(value)]
        for key, value in figures.items()
    ]
    print_table(["figure", "value"], rows)
    if verdict.layers:
        _layers.show(verdict.layers)
        if not passed and verdict.layers.layers and verdict.layers.departing is None:
            click.echo(
                "no layer is at fault by itself: it is what the runtime fuses, or what follows the last layer"
            )
    click.echo(status)

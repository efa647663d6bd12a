"""Converting and verifying belong together: no file counts as done before its own runtime has run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgepress import convert, runtime
from edgepress.artifact import Artifact, Verification
from edgepress.data import Data
from edgepress.errors import BackendMissing, EdgepressError, VerificationFailed
from edgepress.history import Value
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.runtime import Comparison, compare, limit_db
from edgepress.signature import Signature

Arrays = tuple[np.ndarray, ...]

SAMPLES = 32
"""How many samples a conversion is compared on."""


def convert_all(
    program: Program,
    paths: Mapping[str, Path],
    *,
    options: Mapping[str, Mapping[str, Value]] | None = None,
    data: Data | None = None,
    progress: Progress = silent,
) -> list[Artifact]:
    """Write the program in each format (a key of `paths`) and verify each file on its own runtime.

    What any of the formats cannot express, and what is wrong with the data, is said before the first is written.
    """
    options = options or {}
    for format in paths:
        convert.check(program, format, options.get(format))
    inputs = tuple(batches(program.signature, program.preprocess, data))
    for batch in inputs:
        program.signature.check_inputs(batch)
    made = []
    for done, (format, path) in enumerate(paths.items()):
        progress(f"converting: {format}", done, len(paths))
        artifact = convert.to(program, format, path, options.get(format))
        made.append(verify(program, artifact, inputs))
    return made


def verify(program: Program, artifact: Artifact, inputs: Iterable[Arrays]) -> Artifact:
    """Compare the artifact's outputs with the program's and put the outcome on record in its manifest."""
    try:
        with runtime.open(artifact) as runner:
            comparison = compare(program.run, runner.run, inputs)
    except BackendMissing as error:
        return artifact.verified(Verification(status="skipped", results={"reason": str(error)}))
    except EdgepressError as error:
        return artifact.verified(Verification(status="failed", results={"reason": str(error)}))
    limit = limit_db(program.precision, artifact.manifest.precision)
    return artifact.verified(
        Verification(
            status="passed" if comparison.sqnr_db >= limit else "failed",
            runner=runner.name(),
            reference="program",
            results=finite(comparison) | {"limit_db": limit},
        )
    )


def require_verified(artifacts: Sequence[Artifact]) -> None:
    """Raise VerificationFailed when any file departs too far from the network it was made from."""
    failed = [artifact for artifact in artifacts if _status(artifact) == "failed"]
    if failed:
        verification = failed[0].manifest.verification
        raise VerificationFailed(
            f"{len(failed)} of {len(artifacts)} files failed their verification.",
            where=f"{failed[0].path}: {dict(verification.results) if verification else ''}",
            hint="do not ship it; the manifest has marked it as failed",
        )


def batches(
    signature: Signature, preprocess: Preprocess | None, data: Data | None, samples: int = SAMPLES
) -> Iterator[Arrays]:
    """Inputs to compare on: evaluation samples of the data, or random ones."""
    if data is None:
        yield from (signature.example(8, seed) for seed in range(samples // 8))
    else:
        for batch in data.batches("evaluate", preprocess, batch_size=8, limit=samples):
            yield batch.inputs


def finite(comparison: Comparison) -> dict[str, Value]:
    """The figures as JSON has them: it knows no infinity, so bit-equal outputs count as 999 dB."""
    return {key: min(value, 999.0) for key, value in dataclasses.asdict(comparison).items()}


def _status(artifact: Artifact) -> str:
    return artifact.manifest.verification.status if artifact.manifest.verification else "skipped"

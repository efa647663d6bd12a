"""From a MODEL text to a Program: the zoo's, the user's own, or a file of another framework, which is then compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edgepress import convert, models, runtime
from edgepress.artifact import Artifact, Manifest
from edgepress.cli._console import remark
from edgepress.errors import BackendMissing, BadOption
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.runtime import compare, limit_db
from edgepress.signature import Signature

SAMPLES = 8
"""How many samples a file just read is compared on."""


def load(
    text: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    preprocess: Preprocess | None = None,
    **given: Any,
) -> Program:
    """`models.load`, and what `convert.read` reads. Raises VerificationFailed when what was read computes
    something else than the file does on its own runtime."""
    path = Path(text)
    if path.suffix.removeprefix(".") not in convert.readable():
        return models.load(text, input_shape=input_shape, preprocess=preprocess, **given)
    for option, value in {"--weights": given.get("weights"), "--set": given.get("options")}.items():
        if value:
            raise BadOption(
                f"{path.name} holds a whole network: {option} has no effect on it.",
                where=text,
                hint="leave it out",
            )
    options: dict[str, Any] = {} if input_shape is None else {"shape": list(input_shape)}
    program = convert.read(path, options, preprocess)
    _check_same(program, path)
    return program


def _check_same(program: Program, path: Path) -> None:
    """Run the file itself and the program on the same random inputs."""
    format = path.suffix.removeprefix(".")
    batch = convert.reader(format)().batch(path)
    signature = Signature(
        tuple(dataclasses.replace(spec, shape=(batch, *spec.shape[1:])) for spec in program.signature.inputs),
        program.signature.outputs,
    )
    artifact = Artifact(path, Manifest(format=format, signature=signature, precision=program.precision))
    inputs = [program.signature.example(SAMPLES, seed=0)]
    try:
        with runtime.open(artifact) as runner:
            comparison = compare(runner.run, program.run, inputs)
    except BackendMissing as missing:
        remark(f"{path.name} was read, but not compared with its own runtime: {missing}")
        return
    if error := comparison.error(limit_db(program.precision, program.precision), where=str(path)):
        raise error

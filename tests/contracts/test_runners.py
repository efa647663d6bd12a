"""What every runner must do with the files of its formats: parametrised over the files of runtime/."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import convert, graph, runtime
from edgepress.artifact import PROGRAM_FORMAT, Artifact, manifest_path
from edgepress.errors import BackendMissing, BadInput, UnsupportedTarget
from edgepress.program import Program
from edgepress.runtime import Runner
from edgepress.signature import TensorSpec

FORMATS = [(name, format) for name in runtime.names() for format in runtime.find(name).formats]


@pytest.fixture(scope="module", params=tiny_networks.NETWORKS, ids=lambda network: network.__name__)
def program(request: pytest.FixtureRequest) -> Program:
    return tiny_networks.capture(request.param)


@pytest.fixture(scope="module", params=FORMATS, ids=lambda pair: "-".join(pair))
def runner(
    request: pytest.FixtureRequest, program: Program, tmp_path_factory: pytest.TempPathFactory
) -> Runner:
    """The runner, not opened, of one of its formats; skipped where its packages are missing."""
    name, format = request.param
    found = runtime.find(name)
    try:
        found.require()
    except BackendMissing as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp(name) / f"model.{format}"
    artifact = program.save(path) if format == PROGRAM_FORMAT else convert.to(program, format, path)
    return runtime.open(artifact, f"cpu:{name}")


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_gives_the_programs_outputs(program: Program, runner: Runner, batch: int) -> None:
    inputs = program.signature.example(batch)
    with runner:
        (got,) = runner.run(*inputs)
    (want,) = program.run(*inputs)
    # Float runtimes differ by the order of their sums only.
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert got.dtype == np.float32


def test_outputs_are_copies(program: Program, runner: Runner) -> None:
    with runner:
        first = runner.run(*program.signature.example(1, seed=0))[0]
        kept = first.copy()
        runner.run(*program.signature.example(1, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_times_of_operators_name_the_users_layers(program: Program, runner: Runner) -> None:
    """Where a runtime tells them: every convolution is in some operator's time, and no name is made up."""
    with runner:
        runner.run(*program.signature.example(1))
        times = runner.profile(2)
    if not times:
        assert type(runner).profile is Runner.profile, "it says that it tells times"
        return
    assert all(0 <= time.latency_ms < np.inf for time in times)
    named = {layer for time in times for layer in time.layers}
    types = dict(graph.layers(program.graph_module()))
    assert named <= types.keys()
    assert {layer for layer, type in types.items() if "conv" in type} <= named


def test_opens_again_after_closing(program: Program, runner: Runner) -> None:
    inputs = program.signature.example(1)
    results = []
    for _ in range(2):
        with runner:
            results.append(runner.run(*inputs)[0])
    np.testing.assert_array_equal(*results)


def test_refuses_inputs_of_another_shape(runner: Runner) -> None:
    with runner, pytest.raises(BadInput, match="takes float32"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize("counts", [(), (0,), (2, 1)], ids=["no inputs", "no samples", "not equally many"])
def test_refuses_inputs_without_samples_or_not_equally_many(runner: Runner, counts: tuple[int, ...]) -> None:
    shape = runner.artifact.manifest.signature.inputs[0].with_batch(1)[1:]
    with runner, pytest.raises(BadInput, match="samples"):
        runner.run(*(np.zeros((count, *shape), np.float32) for count in counts))


def test_refuses_a_damaged_file(runner: Runner, tmp_path: Path) -> None:
    """Cut short, with a manifest that vouches for it: the runtime itself must refuse, in our words."""
    path = tmp_path / runner.artifact.path.name
    whole = runner.artifact.path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput):
        open_and_run(path, runner)


def open_and_run(path: Path, like: Runner) -> None:
    if like.artifact.format == PROGRAM_FORMAT:
        Artifact.open(path)
    with runtime.open(Artifact.describe(path, like.artifact.manifest), like.target) as opened:
        opened.run(*like.artifact.manifest.signature.example(1))


def test_refuses_a_file_that_is_not_the_manifests(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / runner.artifact.path.name
    shutil.copy(runner.artifact.path, path)
    if runner.artifact.format == PROGRAM_FORMAT:
        pytest.skip("a .pt2 holds its own manifest")
    shutil.copy(manifest_path(runner.artifact.path), manifest_path(path))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadInput, match="hash differs"):
        Artifact.open(path)


OTHER_OUTPUTS: dict[str, Callable[[tuple[TensorSpec, ...]], tuple[TensorSpec, ...]]] = {
    "another shape": lambda specs: tuple(replace(spec, shape=(*spec.shape[:-1], 77)) for spec in specs),
    "one more": lambda specs: (*specs, replace(specs[0], name="more")),
}


@pytest.mark.parametrize("other", OTHER_OUTPUTS)
def test_refuses_to_be_timed_with_outputs_that_the_manifest_does_not_state(
    runner: Runner, other: str
) -> None:
    """Nobody reads the outputs of what is timed, and the hash is the file's alone: so a rehearsal has to find out."""
    manifest = runner.artifact.manifest
    lying = replace(manifest.signature, outputs=OTHER_OUTPUTS[other](manifest.signature.outputs))
    artifact = replace(runner.artifact, manifest=replace(manifest, signature=lying))
    with pytest.raises(BadInput), runtime.open(artifact, runner.target) as opened:
        opened.rehearse(lying.example(1))


def test_a_rehearsal_of_a_sound_file_says_nothing(runner: Runner) -> None:
    with runner:
        runner.rehearse(runner.artifact.manifest.signature.example(1))


def test_refuses_other_formats(runner: Runner) -> None:
    other = next(name for name in runtime.names() if runner.artifact.format not in runtime.find(name).formats)
    with pytest.raises(UnsupportedTarget, match="does not run"):
        runtime.open(runner.artifact, f"cpu:{other}")

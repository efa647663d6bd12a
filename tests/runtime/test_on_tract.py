"""Running an ONNX file on tract."""

from __future__ import annotations

from pathlib import Path

import nearby
import numpy as np
import pytest
import tiny_networks

from edgepress import compress, convert, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import UnsupportedTarget
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import Target, compare, limit_db

pytest.importorskip("tract", reason="needs the tract extra")
pytestmark = pytest.mark.tract


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Separable)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "onnx", tmp_path_factory.mktemp("tract") / "model.onnx")


def test_is_asked_for_by_name(artifact: Artifact) -> None:
    assert runtime.open(artifact).name() == "onnxruntime"
    assert runtime.open(artifact, "cpu:tract").name() == "tract"


def test_every_batch_gets_its_plan(program: Program, artifact: Artifact) -> None:
    inputs = program.signature.example(3)
    with runtime.open(artifact, "cpu:tract") as runner:
        (together,) = runner.run(*inputs)
        apart = np.concatenate([runner.run(inputs[0][[place]])[0] for place in range(3)])
        (again,) = runner.run(*inputs)
    # Float sums of a matrix product are split by its size.
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(together, again)


def test_int8_gives_what_the_network_gives(program: Program, tmp_path: Path) -> None:
    small = compress.apply(program, Recipe((QuantizeStatic(),)), tiny_networks.Patches())
    artifact = convert.to(small, "onnx", tmp_path / "model.onnx")
    batches = [batch.inputs for batch in tiny_networks.Patches(32).batches("evaluate", None)]
    with runtime.open(artifact, "cpu:tract") as runner:
        compare(small.run, runner.run, batches).require(limit_db("int8", "int8"), where="tract")


def test_more_threads_are_refused(artifact: Artifact) -> None:
    with (
        pytest.raises(UnsupportedTarget, match="one thread, not on 2"),
        runtime.open(artifact, "cpu:tract", threads=2),
    ):
        pass


def test_operators_are_timed_under_the_users_names(program: Program, artifact: Artifact) -> None:
    with runtime.open(artifact, "cpu:tract") as runner:
        runner.run(*program.signature.example(1))
        layers = runner.profile(1)
    assert any(layer.layers == ("depthwise.0",) for layer in layers)
    fused = next(layer for layer in layers if layer.name.startswith("expand.2/Clip"))
    assert (fused.type, fused.layers) == ("OptMatMul", ("expand.0", "expand.2")), "the clamp is taken along"
    assert all(layer.latency_ms > 0 for layer in layers)


def test_a_device_with_tract_alone_runs_the_file_on_it(
    program: Program, artifact: Artifact, tmp_path: Path
) -> None:
    bare = Target(nearby.Nearby(nearby.bare_python(tmp_path, "numpy", "tract")))
    inputs = program.signature.example(2)
    with runtime.open(artifact, bare) as there:
        assert there.name() == "tract"
        np.testing.assert_allclose(there.run(*inputs)[0], program.run(*inputs)[0], rtol=1e-4, atol=1e-5)

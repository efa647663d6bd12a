"""What every compression stage must do, whichever it is: parametrised over the files of compress/."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import compress, convert, options, plugins, runtime, stage
from edgepress.backend_fit import FITS
from edgepress.errors import BackendMissing, UnknownName, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe
from edgepress.runtime import compare, limit_db
from edgepress.stage import Stage

STAGES = stage.names()
QUICK = {
    "macs": 0.7,
    "round_to": 2,
    "epochs": 1,
    "samples": 64,
    "batch_size": 16,
    "sparsity": 0.5,
    "weight_bytes": 0.2,
}
"""Values for options that a stage must be given, or that cost time, where it has them."""


def build(name: str) -> Stage:
    found = stage.find(name)
    names = {field.name for field in dataclasses.fields(found)}
    return options.build(found, {key: value for key, value in QUICK.items() if key in names})


def apply(program: Program, name: str) -> Program:
    """What the stage makes of the program; skipped where it finds nothing to do there."""
    if not takes(name, program):
        pytest.skip(f"{name} finds nothing to do in this network")
    return compress.apply(program, Recipe((build(name),)), tiny_networks.Patches())


@pytest.fixture(scope="module", params=STAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=tiny_networks.NETWORKS, ids=lambda network: network.__name__)
def original(request: pytest.FixtureRequest) -> Program:
    return tiny_networks.capture(request.param)


@pytest.fixture(scope="module")
def compressed(original: Program, name: str) -> Program:
    return apply(original, name)


def test_says_what_it_does(name: str) -> None:
    assert plugins.summary(stage.PACKAGE, name).endswith(".")
    assert stage.find(name).__doc__


def test_takes_one_of_the_networks_at_least(name: str) -> None:
    assert any(takes(name, tiny_networks.capture(network)) for network in tiny_networks.NETWORKS)


def takes(name: str, program: Program) -> bool:
    try:
        build(name).check(program)
    except UnsupportedModel:
        return False
    return True


def test_survives_yaml(name: str, tmp_path: Path) -> None:
    recipe = Recipe((build(name),))
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


def test_an_unknown_option_names_the_nearest(name: str) -> None:
    known = next((field.name for field in dataclasses.fields(stage.find(name))), None)
    if known is None:
        pytest.skip(f"{name} has no options")
    with pytest.raises(UnknownName, match=f"Did you mean {known!r}"):
        options.build(stage.find(name), {known + "x": 1})


def test_leaves_the_input_alone(original: Program, name: str) -> None:
    before = {key: value.clone() for key, value in original.exported.state_dict.items()}
    apply(original, name)
    after = original.exported.state_dict
    assert before.keys() == after.keys()
    assert all(value.equal(after[key]) for key, value in before.items())


def test_changes_the_network_but_not_its_signature(original: Program, compressed: Program) -> None:
    inputs = original.signature.example(4)
    assert compressed.signature == original.signature
    assert not np.array_equal(compressed.run(*inputs)[0], original.run(*inputs)[0])


def test_is_on_record(compressed: Program, name: str) -> None:
    assert compressed.history.names() == (name,)


def test_same_seed_same_result(original: Program, compressed: Program, name: str) -> None:
    inputs = original.signature.example(4)
    np.testing.assert_array_equal(apply(original, name).run(*inputs)[0], compressed.run(*inputs)[0])


def test_saves_and_loads_bit_for_bit(compressed: Program, tmp_path: Path) -> None:
    compressed.save(tmp_path / "model.pt2")
    inputs = compressed.signature.example(3)
    loaded = Program.load(tmp_path / "model.pt2")
    np.testing.assert_array_equal(loaded.run(*inputs)[0], compressed.run(*inputs)[0])
    assert loaded.history == compressed.history


@pytest.mark.parametrize("format", convert.formats())
def test_converts_and_runs_there(compressed: Program, format: str, tmp_path: Path) -> None:
    try:
        for edge in convert.route(format):
            convert.find(*edge).require()
        runtime.find(runtime.runners_of(format)[0]).require()
    except BackendMissing as error:
        pytest.skip(str(error))
    if compressed.quantized is not None and FITS[format].taken(compressed.quantized).how == "nothing":
        with pytest.raises(UnsupportedModel, match=compressed.quantized.name):
            convert.check(compressed, format)
        return
    artifact = convert.to(compressed, format, tmp_path / f"model.{format}")
    batches = [batch.inputs for batch in tiny_networks.Patches(32).batches("evaluate", None)]
    with runtime.open(artifact) as runner:
        comparison = compare(compressed.run, runner.run, batches)
    comparison.require(limit_db(compressed.precision, artifact.manifest.precision), where=str(artifact.path))

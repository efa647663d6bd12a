"""Recipes: YAML in and out, and what is wrong in one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgepress import options, stage
from edgepress.errors import BadInput, BadOption, EdgepressError, UnknownName
from edgepress.recipe import Recipe

TEXT = """
stages:
  - fine_tune: {epochs: 2}
  - quantize_static
rules:
  - {layer: "features.0.*", stage: quantize_static, skip: true}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_there_and_back(tmp_path: Path) -> None:
    recipe = Recipe.load(written(tmp_path, TEXT))
    assert [one.name() for one in recipe.stages] == ["fine_tune", "quantize_static"]
    assert options.to_mapping(recipe.stages[0], defaults=False) == {"epochs": 2}
    assert recipe.rules.apply(recipe.stages[1], "features.0.conv", "conv2d") is None
    recipe.save(tmp_path / "again.yaml")
    assert Recipe.load(tmp_path / "again.yaml") == recipe
    assert "options" not in (tmp_path / "again.yaml").read_text(), "what is the default is left out"


@pytest.mark.parametrize("name", stage.names())
def test_every_stage_goes_through_yaml(name: str, tmp_path: Path) -> None:
    """With its defaults; a stage that needs an option says which."""
    needed = [
        field.name
        for field in dataclasses.fields(stage.find(name))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if needed:
        with pytest.raises(BadOption, match=f"'{needed[0]}' is required"):
            Recipe.from_mapping({"stages": [name]})
        return
    recipe = Recipe.from_mapping({"stages": [name]})
    recipe.save(tmp_path / "r.yaml")
    assert Recipe.load(tmp_path / "r.yaml") == recipe


WRONG: list[tuple[str, type[EdgepressError], str]] = [
    ("stages: [fine_tun]", UnknownName, "Did you mean 'fine_tune'"),
    ("stage: [fine_tune]", UnknownName, "Did you mean 'stages'"),
    ("stages: [{fine_tune: {epoch: 1}}]", UnknownName, "Did you mean 'epochs'"),
    ("stages: [{fine_tune: {epochs: many}}]", BadOption, "epochs='many'"),
    ("stages: [{fine_tune: {}, distill: {}}]", BadOption, "one name with its options"),
    ("rules: [{layer: a, stage: nothing}]", UnknownName, "no stage named 'nothing'"),
    ("rules: [{layr: a}]", UnknownName, "Did you mean 'layer'"),
    ("[1, 2]", BadOption, "A recipe is a mapping"),
    ("stages: [", BadInput, "not valid YAML: line 1: expected the node content"),
    ("stages: [distill]\nstages: []", BadInput, "line 2: 'stages' is given twice"),
    ("stages: !!python/object/apply:os.getcwd []", BadInput, "not valid YAML"),
]


@pytest.mark.parametrize(("text", "error", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_place(
    text: str, error: type[EdgepressError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as caught:
        Recipe.load(written(tmp_path, text))
    assert "recipe.yaml" in caught.value.where


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        Recipe.load(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="is empty"):
        Recipe.load(written(tmp_path, ""))

"""Exceptions for single layers: name beats type beats stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Gt

from edgepress.errors import BadOption, UnknownName
from edgepress.rules import Rule, Rules
from edgepress.stage import Context, Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class Shrink(Stage):
    per_layer = frozenset({"ratio", "steps"})

    ratio: Annotated[float, Gt(0)] = 0.5
    steps: int = 1
    seed: int = 0

    @classmethod
    def name(cls) -> str:
        return "shrink"

    def apply(self, program: object, context: Context) -> Outcome:
        raise NotImplementedError


def rules(*given: Rule) -> Rules:
    return Rules(given)


def test_name_beats_type_beats_stage() -> None:
    both = rules(
        Rule(layer="features.0*", options={"ratio": 0.9}),
        Rule(type="conv2d", options={"ratio": 0.7, "steps": 3}),
    )
    assert both.apply(Shrink(), "features.0.conv", "conv2d") == Shrink(ratio=0.9, steps=3)
    assert both.apply(Shrink(), "features.1.conv", "conv2d") == Shrink(ratio=0.7, steps=3)
    assert both.apply(Shrink(), "head", "linear") == Shrink()


def test_skipping_and_taking_it_back() -> None:
    found = rules(Rule(type="linear", skip=True), Rule(layer="head", skip=False))
    assert found.apply(Shrink(), "head", "linear") == Shrink()
    assert found.apply(Shrink(), "other", "linear") is None


def test_rules_of_other_stages_do_not_count() -> None:
    assert rules(Rule(layer="*", stage="distill", skip=True)).apply(Shrink(), "head", "linear") == Shrink()
    assert rules(Rule(layer="*", stage="shrink", skip=True)).apply(Shrink(), "head", "linear") is None


def test_options_of_a_rule_are_checked() -> None:
    with pytest.raises(BadOption, match="ratio=-1") as caught:
        rules(Rule(layer="head", options={"ratio": -1})).apply(Shrink(), "head", "linear")
    assert "head" in caught.value.where
    with pytest.raises(UnknownName, match="Did you mean 'ratio'"):
        rules(Rule(layer="head", options={"ration": 1})).apply(Shrink(), "head", "linear")


def test_a_rule_names_one_thing_that_exists() -> None:
    with pytest.raises(BadOption, match="either a layer or a type"):
        Rule(layer="a", type="b")
    with pytest.raises(BadOption, match="matches no layer") as caught:
        rules(Rule(layer="feature.*", skip=True)).check([Shrink()], LAYERS)
    assert "features.0" in caught.value.hint
    rules(Rule(type="conv2d", skip=True)).check([Shrink()], LAYERS)


LAYERS = [("features.0", "conv2d")]


class Whole(Shrink):
    """A stage that does the same to the whole network."""

    per_layer = frozenset()

    @classmethod
    def name(cls) -> str:
        return "whole"


def test_a_rule_without_effect_is_refused_before_anything_runs() -> None:
    given = rules(Rule(type="conv2d", stage="whole", skip=True))
    with pytest.raises(BadOption, match="no effect on any stage"):
        given.check([Whole(), Shrink()], LAYERS)
    with pytest.raises(UnknownName, match="no option of single layers named 'seed'"):
        rules(Rule(type="conv2d", options={"seed": 1})).check([Whole(), Shrink()], LAYERS)
    with pytest.raises(BadOption, match="ratio=-1"):
        rules(Rule(type="conv2d", options={"ratio": -1})).check([Shrink()], LAYERS)
    rules(Rule(type="conv2d", options={"ratio": 0.1})).check([Whole(), Shrink()], LAYERS)

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
    ratio: Annotated[float, Gt(0)] = 0.5
    steps: int = 1

    @classmethod
    def name(cls) -> str:
        return "shrink"

    def apply(self, program: object, context: Context) -> Outcome:  # type: ignore[override]
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
        rules(Rule(layer="feature.*", skip=True)).check([("features.0", "conv2d")])
    assert "features.0" in caught.value.hint
    rules(Rule(type="conv2d", skip=True)).check([("features.0", "conv2d")])

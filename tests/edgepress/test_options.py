"""One dataclass for Python, YAML and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Gt, Le

from edgepress import options
from edgepress.compress.distill import Distill
from edgepress.errors import BadOption, UnknownName


@dataclass(frozen=True, kw_only=True)
class Prune:
    macs: Annotated[float, Gt(0), Le(1)] = 0.5
    criterion: Literal["l1", "taylor"] = "l1"
    round_to: int = 8
    keep: tuple[str, ...] = ()


def test_command_line_text_to_dataclass() -> None:
    values = options.parse("macs=0.25,criterion=taylor,keep=[a, b]")
    assert options.build(Prune, values) == Prune(macs=0.25, criterion="taylor", keep=("a", "b"))
    assert options.build(Prune, options.parse("0.3,round_to=4", shorthand="macs")) == Prune(
        macs=0.3, round_to=4
    )
    assert options.parse("") == {}


def test_a_ratio_is_a_text_and_no_number_in_base_60() -> None:
    assert options.parse("pattern=2:4,block=[1:4, 0x10, -7]") == {"pattern": "2:4", "block": ["1:4", 16, -7]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("macs=0", "macs=0: input should be greater than 0"),
        ("macs=half", "macs='half'"),
        ("criterion=l9", "criterion='l9'"),
        ("round_to=1.5", "round_to=1.5"),
        ("macs=2,round_to=x", "macs=2.*; round_to='x'"),
    ],
)
def test_values_that_do_not_fit(text: str, said: str) -> None:
    with pytest.raises(BadOption, match=said) as caught:
        options.build(Prune, options.parse(text), where="--prune")
    assert caught.value.where == "--prune"


def test_unknown_option_and_broken_text() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'criterion'"):
        options.build(Prune, {"criterium": "l1"})
    for text in ("macs", "keep=[a"):
        with pytest.raises(BadOption):
            options.parse(text)


def test_there_and_back() -> None:
    prune = Prune(macs=0.25, keep=("a",))
    assert options.to_mapping(prune, defaults=False) == {"macs": 0.25, "keep": ["a"]}
    assert options.build(Prune, options.to_mapping(prune)) == prune


@dataclass(frozen=True, kw_only=True)
class Tune:
    epochs: Annotated[int, Gt(0)] = 5
    teacher: str = "self"


@dataclass(frozen=True, kw_only=True)
class Gradual:
    steps: int = 4
    tune: Tune = Tune(epochs=1)


def test_a_group_of_options_keeps_what_is_not_said() -> None:
    values = options.parse("steps=2,tune.teacher=big.pt2")
    assert values == {"steps": 2, "tune": {"teacher": "big.pt2"}}
    gradual = options.build(Gradual, values)
    assert gradual == Gradual(steps=2, tune=Tune(epochs=1, teacher="big.pt2"))
    assert options.to_mapping(gradual, defaults=False) == values
    assert options.to_mapping(gradual)["tune"] == {"epochs": 1, "teacher": "big.pt2"}
    assert options.build(Gradual, options.to_mapping(gradual)) == gradual
    assert options.to_mapping(Gradual(), defaults=False) == {}


def test_a_group_given_in_python_is_checked_too() -> None:
    gradual = Gradual(tune=Tune(epochs=0))
    with pytest.raises(BadOption, match="epochs=0"):
        options.build(Gradual, {"steps": 4, "tune": gradual.tune})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tune.epoch=1", "Did you mean 'epochs'"),
        ("tune.epochs=0", "epochs=0: input should be greater than 0"),
        ("tune=3", "'tune' is a group of options, not 3"),
        ("tune=3,tune.epochs=1", "so is 'tune' as a whole"),
        ("steps.more=1", "steps={'more': 1}"),
    ],
)
def test_what_a_group_does_not_take(text: str, said: str) -> None:
    with pytest.raises((BadOption, UnknownName), match=said):
        options.build(Gradual, options.parse(text), where="stage gradual")


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(BadOption, match="'macs' is given twice"):
        options.parse("macs=0.5,criterion=l1,macs=0.6")
    with pytest.raises(BadOption, match="'tune.epochs' is given twice"):
        options.parse("tune.epochs=1,tune.epochs=2")


def test_the_hint_leads_to_the_options_at_hand() -> None:
    with pytest.raises(BadOption) as caught:
        options.build(Tune, {"epochs": 0})
    assert caught.value.hint == "options: epochs, teacher"
    with pytest.raises(BadOption) as caught:
        options.build(Distill, {"epochs": 0})
    assert caught.value.hint.startswith("edgepress stages distill ")

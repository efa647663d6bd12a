"""`edgepress models`: which networks it lists, and what it shows of one."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from edgepress import models
from edgepress.cli import run
from edgepress.cli.models import TASKS
from edgepress.models._card import Task


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> set[str]:
    assert run(["models", *options, "--json"]) == 0
    return set(json.loads(capsys.readouterr().out))


def test_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys) == set(models.names())


def test_every_task_of_a_card_can_be_asked_for() -> None:
    assert get_args(Task) == TASKS


def test_filters_leave_what_fits_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "--task", "classification") == set(models.names("classification"))
    assert listed(capsys, "--family", "resnet_cifar", "--max-parameters", "0.3M") == {"resnet20"}
    assert listed(capsys, "--family", "resnet_cifar", "--max-macs", "70M") == {"resnet20", "resnet32"}
    assert listed(capsys, "--input", "1x32x32") == {"lenet5"}
    wide = {"inception_v3", "inception_v4", "xception"}
    assert wide <= listed(capsys, "--input", "299") < set(models.names())


def test_nothing_found_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--max-macs", "1k"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "No network of the zoo is like that.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--family", "resnett"], "Did you mean 'resnet'"),
        (["--max-macs", "many"], "600M"),
        (["--input", "2x"], "3x224x224"),
        (["lenet5", "--task", "classification"], "not to a single network"),
    ],
)
def test_a_filter_that_makes_no_sense(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_network_is_drawn_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "squeezenet1_0"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["224", "x", "224", "3", "#" * 28, "input"] in lines
    assert ["54", "x", "54", "128", "#" * 7, "Fire", "x", "2", "24,352"] in lines
    assert any("bypass=simple" in line for line in lines)


def test_figures_have_all_their_digits(capsys: pytest.CaptureFixture[str]) -> None:
    """99.05 is neither 99.0 nor 99.1."""
    assert run(["models", "--family", "lenet"]) == 0
    assert "top-1 99.05" in capsys.readouterr().out
    assert run(["models", "lenet5"]) == 0
    assert "top-1 99.05 % on MNIST" in capsys.readouterr().out
    assert run(["models", "dcgan_generator"]) == 0
    assert ["published", "no", "figure"] in [line.split() for line in capsys.readouterr().out.splitlines()]

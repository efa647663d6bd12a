"""`edgepress stages`: what a user can find out about options without reading code."""

from __future__ import annotations

import json

import pytest

from edgepress import stage
from edgepress.cli import run
from edgepress.compress._channels.importance import CRITERIA


def test_an_option_that_takes_words_spells_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stages", "prune_channels", "--json"]) == 0
    takes = {row["option"]: row["type"] for row in json.loads(capsys.readouterr().out)["options"]}
    assert takes["criterion"] == ", ".join(CRITERIA)
    assert takes["scope"] == "global, uniform"
    assert takes["round_to"] == "int, Ge(1)"


@pytest.mark.parametrize("name", stage.names())
def test_every_stage_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stages", name]) == 0
    assert "default" in capsys.readouterr().out

"""`edgepress stages`: what a user can find out about options without reading code."""

from __future__ import annotations

import json
import re

import pytest

from edgepress import stage
from edgepress.cli import run
from edgepress.compress._channels.importance import CRITERIA


def test_an_option_that_takes_words_spells_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stages", "prune_channels", "--json"]) == 0
    takes = {row["option"]: row["type"] for row in json.loads(capsys.readouterr().out)["options"]}
    assert takes["criterion"] == ", ".join(CRITERIA)
    assert takes["scope"] == "global, uniform"
    assert takes["round_to"] == "int >= 1"
    assert takes["macs"] == "float > 0, < 1 or none"


@pytest.mark.parametrize("name", stage.names())
def test_every_stage_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stages", name]) == 0
    told = capsys.readouterr().out
    assert "default" in told
    assert not re.search(r"Annotated|\b[GL][te]\(|\bclass\b'", told), "names of our own code are no bounds"

"""Which of the many pairs of a stage and a format the default suite runs."""

from __future__ import annotations

import pytest

from edgepress import stage

QUICK_FORMATS = frozenset({"onnx", "tflite"})
"""Written in a fraction of a second, so that every stage's results go through them in the default suite."""

SLOW_FORMATS = frozenset({"pte"})
"""Lowering to it takes many seconds, whatever the network."""


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = getattr(item, "callspec", None)
        if given is None or not {"format", "name"} <= given.params.keys():
            continue
        format = given.params["format"]
        # The others take seconds each: by default they get what makes a difference to them, another precision.
        differs = format not in SLOW_FORMATS and stage.find(given.params["name"]).makes_int8
        if format not in QUICK_FORMATS and not differs:
            item.add_marker(pytest.mark.slow)

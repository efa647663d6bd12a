"""Which of the many pairs of a stage and a format the default suite runs."""

from __future__ import annotations

import pytest

from edgepress import stage
from edgepress.compress._quantization.training import QuantizedTraining
from edgepress.compress.quantize_aware import QuantizeAware

QUICK_FORMATS = frozenset({"onnx", "tflite"})
"""Written in a fraction of a second, so that every stage's results go through them in the default suite."""

SLOW_FORMATS = frozenset({"pte"})
"""Lowering to it takes many seconds, whatever the network."""

NOT_NCNN = frozenset({"binarize", "ternarize"})
"""Their weights of one and two bits pass on all the noise of their inputs, and ncnn's have one bit less than the others'
where nothing is negative: untrained networks as small as these fall below its limit by a decibel or two."""


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = getattr(item, "callspec", None)
        if given is None or not {"format", "name"} <= given.params.keys():
            continue
        format = given.params["format"]
        # The others take seconds each: by default they get what makes a difference to them, another precision.
        name = given.params["name"]
        found = stage.find(name)
        # What other stages train as quantize_aware does is made of the same operators.
        is_repeated = issubclass(found, QuantizedTraining) and found is not QuantizeAware
        differs = format not in SLOW_FORMATS and found.makes_int8 and not is_repeated
        if format == "ncnn" and name in NOT_NCNN:
            item.add_marker(pytest.mark.skip(reason="ncnn: one bit of activations less, see NOT_NCNN"))
        if format not in QUICK_FORMATS and not differs:
            item.add_marker(pytest.mark.slow)

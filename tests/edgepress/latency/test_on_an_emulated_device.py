"""A budget on an emulated device is one of instructions, which repeat from run to run as no time does."""

from __future__ import annotations

from pathlib import Path

import emulated
import pytest
import tiny_networks

from edgepress import compress
from edgepress.compress._channels.latency_budget import LatencyBudget
from edgepress.compress.prune_channels import PruneChannels
from edgepress.errors import BackendMissing
from edgepress.latency import TargetStopwatch
from edgepress.recipe import Recipe

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

TARGET = "qemu:cortex-a76#onnxruntime"


@pytest.fixture(scope="module", autouse=True)
def made() -> None:
    emulated.made()


def test_a_network_is_pruned_to_a_share_of_its_instructions() -> None:
    program = tiny_networks.capture(tiny_networks.Residual)
    recipe = Recipe((PruneChannels(latency=LatencyBudget(0.7, TARGET)),))
    pruned = compress.apply(program, recipe, stopwatch=TargetStopwatch())
    told = pruned.history.steps[-1].results["latency"]
    assert told["original_instructions"] > 1e5
    assert told["measured"] <= 0.7 * 1.05
    again = TargetStopwatch().ratio(program, pruned, TARGET)
    assert (again.unit, again.quantity) == ("instructions", "instructions")
    # Counts spread by less than half a percent.
    assert again.value == pytest.approx(told["measured"], rel=0.01)


def test_a_runtime_that_the_device_lacks_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match="does not have openvino"):
        TargetStopwatch().check(tiny_networks.capture(tiny_networks.Residual), "qemu:cortex-a76#openvino")

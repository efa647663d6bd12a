"""Which of the user's layers each node of OpenVINO's own graph computes, as that graph notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgepress.runtime._openvino_taps import COMPUTE_NOTHING, WITHOUT_BIAS

ORIGINAL_NAMES = "originalLayersNames"
"""The note of every node of a compiled network: the operators of the file that went into it, with commas between."""
WEIGHT = ".weight"


def fused_layers(executed: Any) -> Mapping[str, tuple[str, ...]]:
    """By the name of each node of a compiled network's `executed` graph: the layers that it computes."""
    return {
        node.get_friendly_name(): tuple(dict.fromkeys(_layers(node))) for node in executed.get_ordered_ops()
    }


def _layers(node: Any) -> Iterator[str]:
    """Of the operators' `<layer>/<type>`; an operator that bears an output's name is the layer whose weight it reads."""
    notes = node.get_rt_info()
    originals = notes[ORIGINAL_NAMES].astype(str).split(",") if ORIGINAL_NAMES in notes else []
    named = [original.partition(WITHOUT_BIAS)[0].rpartition("/") for original in originals]
    layers = [layer for layer, slash, kind in named if slash and not kind.startswith(COMPUTE_NOTHING)]
    yield from layers
    if not layers:
        sources = (value.get_source_output().get_node().get_friendly_name() for value in node.inputs())
        yield from (source.removesuffix(WEIGHT) for source in sources if source.endswith(WEIGHT))

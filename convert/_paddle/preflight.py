"""What x2paddle has no operator for, asked of x2paddle, by the user's layers."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from edgepress.convert._paddle.older import older
from edgepress.convert._paddle.spelt import pads_more_than_images
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.isolation import run_script

KNOWN = Path(__file__).with_name("known.py")


def unsupported(source: Path) -> tuple[UnsupportedOperator, ...]:
    """Every node of the ONNX file that x2paddle cannot take."""
    found = older(source).graph
    reasons = {
        node.name: f"x2paddle has no operator {node.op_type}."
        for node in found.node
        if node.op_type not in _known()
    } | {
        node.name: "x2paddle pads no channels and no batch."
        for node in found.node
        if pads_more_than_images(node, found)
    }
    return tuple(
        UnsupportedOperator(node.name.rpartition("/")[0], node.op_type, reasons[node.name])
        for node in found.node
        if node.name in reasons
    )


@functools.cache
def _known() -> frozenset[str]:
    """The ONNX operators that x2paddle has a translation of, among other words that its import prints."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
        done = run_script(KNOWN, folder=Path(folder), python=ENVIRONMENT.python)
    return frozenset(done.output.split())

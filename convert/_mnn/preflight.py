"""What MNN's converter has no form for, asked of the converter itself, by the user's layers."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

import onnx

from edgepress.convert._mnn.convert import NAMED, TOOL
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.isolation import run_script

REFUSED = re.compile(r"\bONNX::(\w+)")
"""How the converter names the operators that it ends on, all at once."""

CRASHING = {"AveragePool", "MaxPool"}
"""With windows of three axes MNN (3.6) converts them, and then ends the process that executes them."""

BY_VALUES = {"NonZero"}
"""MNN (3.6) converts it, and then makes no session: it plans its memory before the values are there."""


def unsupported(source: Path) -> tuple[UnsupportedOperator, ...]:
    """Every node of the ONNX file that MNN cannot take.

    Only where its list lacks an operator, which it may yet replace by others, is the file converted to see.
    """
    nodes = onnx.load(source, load_external_data=False).graph.node
    refused = {node.op_type for node in nodes} - _listed()
    if refused:
        refused &= _ends_on(source)
    return tuple(
        UnsupportedOperator(
            node.name.rpartition("/")[0],
            node.op_type,
            f"MNN has no operator {node.op_type}{' for windows of three axes' if _crashes(node) else ''}.",
        )
        for node in nodes
        if node.op_type in refused or node.op_type in BY_VALUES or _crashes(node)
    )


def _crashes(node: onnx.NodeProto) -> bool:
    axes = {attribute.name: len(attribute.ints) for attribute in node.attribute}
    return node.op_type in CRASHING and axes.get("kernel_shape") == 3


@functools.cache
def _listed() -> frozenset[str]:
    """The ONNX operators that the converter says it knows."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
        return frozenset(run_script(TOOL, "-f", "ONNX", "--OP", folder=Path(folder)).output.split())


def _ends_on(source: Path) -> set[str]:
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        made = Path(name, "model.mnn")
        files = ("--modelFile", str(source.absolute()), "--MNNModel", str(made))
        done = run_script(TOOL, "-f", "ONNX", *files, *NAMED, folder=made.parent)
    return set(REFUSED.findall(done.output))

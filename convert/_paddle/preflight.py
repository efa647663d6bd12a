"""What x2paddle has no operator for, asked of x2paddle, by the user's layers."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from onnx import ModelProto

from edgepress.convert._paddle.older import older
from edgepress.convert._paddle.spelt import pads_more_than_images
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.isolation import run_script

REFUSED = Path(__file__).with_name("refused.py")

REASONS = {"lacks": "x2paddle has no operator {}.", "fails": "x2paddle (1.6) fails on this use of {}."}
"""By the answer of the script."""

ANSWER = re.compile(rf"^({'|'.join(REASONS)})\t(.+)$", re.MULTILINE)


def unsupported(source: Path) -> tuple[UnsupportedOperator, ...]:
    """Every node of the ONNX file that x2paddle cannot take."""
    model = older(source)
    answers = _refused(model)
    reasons = {
        node.output[0]: REASONS[answers[node.output[0]]].format(node.op_type)
        for node in model.graph.node
        if node.output[0] in answers
    } | {
        node.output[0]: "x2paddle pads no channels and no batch."
        for node in model.graph.node
        if pads_more_than_images(node, model.graph)
    }
    return tuple(
        UnsupportedOperator(node.name.rpartition("/")[0], node.op_type, reasons[node.output[0]])
        for node in model.graph.node
        if node.output[0] in reasons
    )


def _refused(model: ModelProto) -> dict[str, str]:
    """The answers by the nodes' first outputs, among what x2paddle prints."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        file = Path(name, "model.onnx")
        file.write_bytes(model.SerializeToString())
        done = run_script(REFUSED, file, folder=file.parent, python=ENVIRONMENT.python)
    return {output: answer for answer, output in ANSWER.findall(done.output)}

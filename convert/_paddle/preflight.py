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

SHAPES, REFUSED = (Path(__file__).with_name(name) for name in ("shapes.py", "refused.py"))

REASONS = {
    "lacks": "x2paddle has no operator {}.",
    "fails": "x2paddle fails on this use of {}.",
    "follows": "x2paddle fails on this use of {}.",
}
"""By the answer of the script."""

PADS_MORE = "x2paddle pads no channels and no batch."

ANSWER = re.compile(rf"^({'|'.join(REASONS)})\t(.+)$", re.MULTILINE)


def unsupported(source: Path) -> tuple[UnsupportedOperator, ...]:
    """Every node of the ONNX file that x2paddle cannot take; none that it fails on only because of one before."""
    model = older(source)
    answers, found, behind = _refused(model), list[UnsupportedOperator](), set[str]()
    for node in model.graph.node:
        answer, is_behind = answers.get(node.output[0], ""), not behind.isdisjoint(node.input)
        pads_more = pads_more_than_images(node, model.graph)
        if pads_more or (answer and not (answer == "follows" and is_behind)):
            reason = PADS_MORE if pads_more else REASONS[answer].format(node.op_type)
            found.append(UnsupportedOperator(node.name.rpartition("/")[0], node.op_type, reason))
        if pads_more or answer or is_behind:
            behind.update(node.output)
    return tuple(found)


def _refused(model: ModelProto) -> dict[str, str]:
    """The answers by the nodes' first outputs, among what x2paddle prints."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        file = Path(name, "model.onnx")
        file.write_bytes(model.SerializeToString())
        done = run_script(SHAPES, REFUSED, file, folder=file.parent, python=ENVIRONMENT.python)
    return {output: answer for answer, output in ANSWER.findall(done.output)}

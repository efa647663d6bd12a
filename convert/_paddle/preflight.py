"""What x2paddle has no operator for, asked of x2paddle, by the user's layers."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto

from edgepress.convert._paddle.older import older
from edgepress.convert._paddle.spelt import pads_more_than_images, pads_with_more_than_zeros
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.errors import UnsupportedModel
from edgepress.isolation import run_script

SHAPES, REFUSED = (Path(__file__).with_name(name) for name in ("shapes.py", "refused.py"))

REASONS = {
    "lacks": "x2paddle has no operator {}.",
    "fails": "x2paddle fails on this use of {}.",
    "follows": "x2paddle fails on this use of {}.",
}
"""By the answer of the script."""

PADS_MORE = "x2paddle pads no channels and no batch."

PADS_OTHERS = "x2paddle pads with zeros alone."

ANSWER = re.compile(rf"^({'|'.join(REASONS)})\t(.+)$", re.MULTILINE)


def unsupported(source: Path) -> tuple[UnsupportedOperator, ...]:
    """Every node of the ONNX file that x2paddle cannot take; none that it fails on only because of one before."""
    model = older(source)
    answers, found, behind = _refused(model, source), list[UnsupportedOperator](), set[str]()
    for node in model.graph.node:
        answer, is_behind = answers.get(node.output[0], ""), not behind.isdisjoint(node.input)
        reason = _misread(node, model.graph)
        if not reason and answer and not (answer == "follows" and is_behind):
            reason = REASONS[answer].format(node.op_type)
        if reason:
            found.append(UnsupportedOperator(node.name.rpartition("/")[0], node.op_type, reason))
        if reason or answer or is_behind:
            behind.update(node.output)
    return tuple(found)


def _misread(node: NodeProto, graph: GraphProto) -> str:
    """Why what x2paddle makes of this node, without a word, would be another operator; "" for what it does not misread."""
    if pads_more_than_images(node, graph):
        return PADS_MORE
    return PADS_OTHERS if pads_with_more_than_zeros(node, graph) else ""


def _refused(model: ModelProto, source: Path) -> dict[str, str]:
    """The answers by the nodes' first outputs, among what x2paddle prints. Raises UnsupportedModel where it does not come
    to its end: no answer would mean that it takes everything."""
    with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
        file = Path(name, "model.onnx")
        file.write_bytes(model.SerializeToString())
        done = run_script(SHAPES, REFUSED, file, folder=file.parent, python=ENVIRONMENT.python)
    if not done.succeeded:
        raise UnsupportedModel(
            f"x2paddle does not read this network: {done.said}.",
            where=str(source),
            hint="--to onnx or --to tflite",
        )
    return {output: answer for answer, output in ANSWER.findall(done.output)}

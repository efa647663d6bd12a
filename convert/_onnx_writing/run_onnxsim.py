"""Runs onnxsim in a process of its own: run_onnxsim.py FROM.onnx TO.onnx. It needs nothing of edgepress."""

from __future__ import annotations

import sys

import onnx
import onnxsim


def main(source: str, target: str) -> None:
    """Exit code 1 when onnxsim gives a model that its own check does not accept."""
    simplified, accepted = onnxsim.simplify(onnx.load(source))
    if not accepted:
        sys.exit("its own check does not accept the result")
    onnx.save(simplified, target)


if __name__ == "__main__":
    main(*sys.argv[1:])

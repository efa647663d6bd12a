"""Paddle with x2paddle, which reads ONNX as it was: with onnx 1.15 and NumPy 1."""

from __future__ import annotations

from edgepress.environments import IsolatedEnvironment

ENVIRONMENT = IsolatedEnvironment(
    name="paddle",
    requirements=(
        "paddlepaddle==3.3.1",
        "x2paddle==1.6.0",
        "onnx==1.15.0",
        "numpy<2",
        "six==1.17.0",
        "requests==2.32.5",
        "setuptools<81",
    ),
    cost="about 1.1 GB on disk, minutes to download",
)

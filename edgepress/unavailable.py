"""Systems that networks are deployed with and that edgepress cannot write for, with why, and what to do instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    name: str
    why: str
    instead: str


SYSTEMS = (
    Unavailable(
        name="MACE",
        why="its converter is no package that pip installs today",
        instead="give its converter the file of --to onnx or --to tflite",
    ),
    Unavailable(
        name="Prestissimo",
        why="neither its converter nor its runtime can be installed",
        instead="--to ncnn or --to tflite, for the same phones",
    ),
    Unavailable(
        name="Paddle-Lite",
        why="its optimiser, which writes .nb files, has no wheel on PyPI",
        instead="build `opt` from its source, or --to tflite",
    ),
)

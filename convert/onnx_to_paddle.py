"""Writes a Paddle inference model with x2paddle, in an isolated environment of Paddle's own."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.artifact import Artifact, Manifest
from edgepress.convert._converter import Converter
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.environments.paddle import ENVIRONMENT
from edgepress.errors import UnsupportedModel
from edgepress.isolation import run_script
from edgepress.paddle_file import MEMBERS, PADDLE_FORMAT, write

SHAPES, TOOL = (Path(__file__).parent / "_paddle" / name for name in ("shapes.py", "tool.py"))


@dataclass(frozen=True, kw_only=True)
class OnnxToPaddle(Converter[Artifact]):
    """A .paddle file, which unzips to model.json and model.pdiparams, with a dynamic batch; float networks only."""

    @classmethod
    def require(cls) -> None:
        ENVIRONMENT.require()

    def unsupported(self, source: Artifact) -> Sequence[UnsupportedOperator]:
        from edgepress.convert._paddle.preflight import unsupported

        return unsupported(source.path)

    def write(self, source: Artifact, path: Path) -> Manifest:
        """Raises UnsupportedModel, with x2paddle's last words, for what it cannot convert."""
        from edgepress.convert._paddle.older import older

        with tempfile.TemporaryDirectory(prefix="edgepress-") as name:
            folder = Path(name)
            (folder / "model.onnx").write_bytes(older(source.path).SerializeToString())
            done = run_script(
                SHAPES,
                TOOL,
                folder / "model.onnx",
                folder / "made",
                folder=folder,
                python=ENVIRONMENT.python,
            )
            made = folder / "made" / "inference_model"
            if not done.succeeded or not all((made / member).is_file() for member in MEMBERS):
                raise UnsupportedModel(
                    f"x2paddle fails on this network: {done.said}.",
                    hint="--to onnx or --to tflite; or write the layer that it names with other operators",
                )
            write(path, made)
        return dataclasses.replace(
            source.manifest,
            format=PADDLE_FORMAT,
            tools=dict(source.manifest.tools) | _tools(),
            quality={},
            verification=None,
        )


def _tools() -> dict[str, str]:
    """The pinned versions of the environment: paddlepaddle==3.3.1 as {"paddlepaddle": "3.3.1"}."""
    pinned = (requirement.partition("==") for requirement in ENVIRONMENT.requirements)
    return {name: version for name, _, version in pinned if name in ("paddlepaddle", "x2paddle")}

"""A training that was cut off goes on after its last whole epoch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from edgepress.errors import BadInput
from edgepress.files import write_bytes

State = dict[str, Any]


class Checkpoint:
    """The file that holds a training's state between two epochs; without a path, nowhere.

    `key` says which training it is of: another's is not read.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key

    def save(self, state: State) -> None:
        if self._path is not None:
            # Not to the file at once: where the disk is full, PyTorch's writer raises what is no OSError.
            content = io.BytesIO()
            torch.save({"key": self._key, "state": state}, content)
            write_bytes(self._path, content.getvalue())

    def load(self) -> State | None:
        """The state that was saved last, None where there is none. Raises BadInput for a damaged file."""
        if self._path is None or not self._path.exists():
            return None
        try:
            held = torch.load(self._path, weights_only=True)
            return held["state"] if held["key"] == self._key else None
        except Exception as error:  # whatever a parser makes of bytes that are not its format
            raise BadInput(
                f"The state of a training cannot be read: {type(error).__name__}.",
                where=str(self._path),
                hint="remove the file: the training then starts again",
            ) from error

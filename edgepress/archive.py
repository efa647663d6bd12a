"""Saving a `.pt2` that is only data, and loading one without ever running what somebody put into it."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch.export import ExportedProgram


def save(exported: ExportedProgram, path: Path, metadata: dict[str, str]) -> None:
    buffer = io.BytesIO()
    torch.export.save(exported, buffer, extra_files=metadata)
    path.write_bytes(buffer.getvalue())


def load(path: Path) -> ExportedProgram:
    return torch.export.load(path)

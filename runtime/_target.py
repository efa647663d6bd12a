"""Where an artifact runs, written `cpu` or `cpu:onnxruntime` (the runner may be left to the format)."""

from __future__ import annotations

from dataclasses import dataclass

from edgepress.errors import UnknownName

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Target:
    """A device, and optionally which of its runners to use."""

    device: str = "cpu"
    runner: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        device, _, runner = text.partition(":")
        if device not in DEVICES:
            raise UnknownName("target", text, DEVICES, where=f"--on {text}")
        return cls(device, runner)

    def __str__(self) -> str:
        return f"{self.device}:{self.runner}" if self.runner else self.device

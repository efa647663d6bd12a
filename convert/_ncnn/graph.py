"""ncnn's graph as text, a layer a line, as far as we read and name it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = "7767517"


@dataclass(frozen=True)
class NcnnLayer:
    """One line: `inputs` and `outputs` name blobs, `parameters` are key=value."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> NcnnLayer:
        kind, name, inputs, outputs, *rest = line.split()
        first, last = int(inputs), int(inputs) + int(outputs)
        return cls(kind, name, tuple(rest[:first]), tuple(rest[first:last]), tuple(rest[last:]))

    def __str__(self) -> str:
        words = (*self.inputs, *self.outputs, *self.parameters)
        return f"{self.type:<24} {self.name:<24} {len(self.inputs)} {len(self.outputs)} {' '.join(words)}"

    def number(self, key: int) -> int:
        """An integer parameter; 0, ncnn's default of nearly all, where it is not written."""
        values = (word.partition("=")[2] for word in self.parameters if word.partition("=")[0] == str(key))
        return int(next(values, "0"))


def parse(text: str) -> list[NcnnLayer]:
    _, _, *lines = [line for line in text.splitlines() if line.strip()]
    return [NcnnLayer.parse(line) for line in lines]


def written(layers: Iterable[NcnnLayer]) -> str:
    layers = list(layers)
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *map(str, layers)]) + "\n"

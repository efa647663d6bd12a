"""ncnn's graph as text, a layer a line, as far as we read and name it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
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

    def number(self, key: int, default: int = 0) -> int:
        """An integer parameter; where it is not written, the default, which is 0 for nearly all in ncnn."""
        values = (word.partition("=")[2] for word in self.parameters if word.partition("=")[0] == str(key))
        return int(next(values, default))

    def having(self, numbers: Mapping[int, int]) -> NcnnLayer:
        """The same with these parameters, in place of what they were."""
        kept = (word for word in self.parameters if int(word.partition("=")[0]) not in numbers)
        written = (f"{key}={number}" for key, number in numbers.items())
        return dataclasses.replace(self, parameters=(*kept, *written))

    def reading(self, *inputs: str) -> NcnnLayer:
        return dataclasses.replace(self, inputs=inputs)


def parse(text: str) -> list[NcnnLayer]:
    _, _, *lines = [line for line in text.splitlines() if line.strip()]
    return [NcnnLayer.parse(line) for line in lines]


def written(layers: Iterable[NcnnLayer]) -> str:
    layers = list(layers)
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *map(str, layers)]) + "\n"

"""A budget of time: the share of the original network's latency that may stay, and where that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from edgepress.errors import BadOption

DEFAULT_TARGET = "cpu:onnxruntime"


@dataclass(frozen=True)
class LatencyBudget:
    """`share` of the original's latency on `target`; written `0.6@cpu:litert`, or `0.6` for the default target."""

    share: float
    target: str = DEFAULT_TARGET

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise _bad(f"latency={self.share:g}")

    @classmethod
    def read(cls, value: Any) -> Any:
        """The budget in a text or a number of a recipe; BadOption when there is none in it."""
        if not isinstance(value, (str, int, float)):
            return value
        share, at, target = str(value).partition("@")
        try:
            return cls(float(share), target.strip() if at else DEFAULT_TARGET)
        except ValueError:
            raise _bad(f"latency={value}") from None

    def __str__(self) -> str:
        return f"{self.share:g}@{self.target}"


def _bad(where: str) -> BadOption:
    return BadOption(
        "A latency budget is a share of the original's latency, between 0 and 1, and a target.",
        where=where,
        hint=f"latency=0.6, which is latency=0.6@{DEFAULT_TARGET}, or latency=0.6@cpu:litert",
    )


LatencyOption = Annotated[LatencyBudget, BeforeValidator(LatencyBudget.read), PlainSerializer(str)]
"""The field of a stage: read from text, written as text."""

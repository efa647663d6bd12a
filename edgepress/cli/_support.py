"""Which operators of a network each format can express."""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass

import torch

from edgepress import convert, graph
from edgepress.convert import UnsupportedOperator
from edgepress.errors import BackendMissing, Unsupported
from edgepress.program import Program

YES = "yes"


@dataclass(frozen=True)
class Support:
    """One format's answer: "yes" or why not in `verdict`, and the `places` that it cannot run. `asked` is False where
    the question did not come to single operators: a package is missing, or the format refuses the whole network."""

    format: str
    verdict: str
    places: tuple[UnsupportedOperator, ...] = ()
    asked: bool = True

    def of(self, name: str) -> str:
        """What the table says of the operator called `name`."""
        if not self.asked:
            return "?"
        refused = sum(place.operator == name for place in self.places)
        return f"no ({refused})" if refused else YES


def support(program: Program, format: str) -> Support:
    """What `format` can express of `program`."""
    try:
        places = tuple(convert.unsupported(program, format))
    except (Unsupported, BackendMissing) as error:
        return Support(format, _line(error), asked=False)
    try:
        convert.check(program, format, here=False)
    except (Unsupported, BackendMissing) as error:
        return Support(format, _line(error), places, asked=bool(places))
    return Support(format, YES)


def operators(program: Program) -> dict[str, int]:
    """How often each operator occurs that makes a tensor of its own, the most frequent first."""
    nodes = graph.operators(program.graph_module())
    names = (
        graph.op_name(node)
        for node in nodes
        if node.target is not operator.getitem
        and isinstance(node.meta.get("val"), (torch.Tensor, tuple, list))
    )
    return dict(Counter(names).most_common())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())

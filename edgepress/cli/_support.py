"""Which operators of a network each format can express."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from edgepress import convert, graph
from edgepress.convert import UnsupportedOperator
from edgepress.errors import BackendMissing, EdgepressError, Unsupported
from edgepress.program import Program

YES = "yes"
UNTRIED = "yes, as far as can be told without writing the file"


@dataclass(frozen=True)
class Support:
    """One format's answer: "yes" or why not in `verdict`, and the `places` that it cannot run. `asked` is False where
    the question did not come to single operators: a package is missing, or the format refuses the whole network."""

    format: str
    verdict: str
    places: tuple[UnsupportedOperator, ...] = ()
    asked: bool = True

    def of(self, name: str, layers: Sequence[str], known: Collection[str]) -> str:
        """What the table says of the operator called `name`, which is in these layers; `known` are all there are. Where
        a format speaks of operators of its own, what it cannot run counts for all of its layer's."""
        if not self.asked:
            return "?"
        refused = sum(
            place.operator == name or (place.operator not in known and place.layer in layers)
            for place in self.places
        )
        return f"no ({refused})" if refused else "yes?" if self.verdict == UNTRIED else YES


def support(program: Program, format: str) -> Support:
    """What `format` can express of `program`."""
    try:
        convert.check(program, format, here=False)
    except (Unsupported, BackendMissing) as refused:
        return _refused(program, format, refused)
    return Support(format, YES if convert.foresees(format) else UNTRIED)


def _refused(program: Program, format: str, refused: EdgepressError) -> Support:
    """Asked only now for the places: on a way over another format that takes a conversion of its own."""
    try:
        places = tuple(convert.unsupported(program, format))
    except (Unsupported, BackendMissing) as error:
        return Support(format, error.on_one_line(), asked=False)
    return Support(format, refused.on_one_line(), places, asked=bool(places))


def operators(program: Program) -> dict[str, list[str]]:
    """The layers of each operator that makes a tensor of its own, once for each time, the most frequent first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for node in graph.operators(program.graph_module()):
        made = isinstance(node.meta.get("val"), (torch.Tensor, tuple, list))
        if made and node.target is not operator.getitem:
            found[graph.op_name(node)].append(graph.layer_name(node))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))

"""What a format cannot run, by the user's layer: found before any work, and told all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch.fx import Node

from edgepress import graph
from edgepress.errors import BackendMissing, EdgepressError, Unsupported, UnsupportedModel
from edgepress.graph import aten

MOST_NAMED = 20
"""More than a screen of layers tells nobody more."""

ASSERTIONS = (
    aten._assert_async,
    aten._assert_scalar,
    aten._assert_tensor_metadata,
    aten.sym_constrain_range_for_size,
)
"""What exporters leave out, for it computes nothing."""

HINT = "write these layers with other operators, or choose another format (edgepress inspect MODEL compares them)"


@dataclass(frozen=True)
class UnsupportedOperator:
    """One place that a format cannot run: the user's `layer` (empty where the format's tool does not tell), its
    `operator` as rules call it, the `reason` as a sentence, the `line` of the user's code, and what could help."""

    layer: str
    operator: str
    reason: str
    line: str = ""
    hint: str = HINT

    @classmethod
    def at(cls, node: Node, reason: str, hint: str = HINT) -> UnsupportedOperator:
        """The place of a node of `Program.graph_module()`."""
        return cls(graph.layer_name(node), graph.op_name(node), reason, graph.source_line(node), hint)

    def told(self, reason: str = "") -> str:
        """Where it is, with the reason if given."""
        where = f"layer {self.layer} ({self.operator})" if self.layer else self.operator
        return f"{where}{': ' if reason else ''}{reason}{' | ' if self.line else ''}{self.line}"


def refusal(format: str, found: Sequence[UnsupportedOperator]) -> UnsupportedModel:
    """The error that names every place in `found`, which is not empty, or the first twenty."""
    first = found[0]
    if len(found) == 1:
        return UnsupportedModel(first.reason, where=first.told(), hint=first.hint)
    lines = [place.told(place.reason) for place in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        lines.append(f"and {len(found) - MOST_NAMED} more")
    operators = ", ".join(list(dict.fromkeys(place.operator for place in found))[:MOST_NAMED])
    return UnsupportedModel(
        f"{format} cannot run {len(found)} places of this network: {operators}.",
        where="\n         ".join(lines),
        hint=first.hint,
    )


def refusals(errors: Mapping[str, EdgepressError], written: Sequence[str] = ()) -> EdgepressError:
    """One error for what some formats refuse, while others were `written`: a network that one of them cannot express is
    the worse news. The error itself where one format is all that was asked for."""
    if len(errors) == 1 and not written:
        return next(iter(errors.values()))
    kind = (
        UnsupportedModel if any(isinstance(each, Unsupported) for each in errors.values()) else BackendMissing
    )
    told = [
        f"{format}: {error.what}" + (f"\n         {error.where}" if error.where else "")
        for format, error in errors.items()
    ]
    hints = dict.fromkeys(error.hint for error in errors.values() if error.hint)
    what = (
        f"Of the files asked for, {', '.join(written)} {'is' if len(written) == 1 else 'are'} written, not "
        if written
        else f"{len(errors)} of the formats refuse this network: "
    )
    return kind(
        f"{what}{', '.join(errors)}.",
        where="\n         ".join(told),
        hint="\n         ".join(hints),
    )

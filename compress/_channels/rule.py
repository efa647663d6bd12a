"""What the rules for carrying channel labels share: their type, freezing with a reason, the operator without a rule."""

from __future__ import annotations

from collections.abc import Callable

from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.labels import Channels, Flow, Labeller

Result = tuple[Channels | None, Flow]
Rule = Callable[[Labeller, Node], Result | None]
"""Returns the output's channels (None: nothing of it can shrink) and how the node treats the order of its
channels; nothing at all when the node was labelled on the way."""


def unknown(labeller: Labeller, node: Node) -> Result:
    """The rule of an operator that nothing is known about: what goes into it keeps all of its channels."""
    for source in node.all_input_nodes:
        freeze(labeller, source, f"it goes into {describe(node)}, which needs all of its channels")
    return None, Flow.FIXED


def freeze(labeller: Labeller, source: Node, reason: str) -> None:
    """Keep all channels of `source`, if it has any that could go."""
    channels = labeller.channels(source)
    if channels is not None:
        labeller.freeze(channels.labels, reason)


def describe(node: Node) -> str:
    """The operator, and the user's layer where it is in one."""
    name = graph.layer_name(node)
    return graph.op_name(node) if name == node.name else f"{graph.op_name(node)} in {name}"


def origin(node: Node) -> str:
    """Where a tensor comes from, in the user's words."""
    if node.op == "placeholder":
        return f"the network's input {node.name}"
    return "a stored tensor" if node.op == "get_attr" else f"the result of {describe(node)}"


def on_axis(labeller: Labeller, source: Node, axis: int, node: Node) -> Channels | None:
    """The channels of `source` when they lie on `axis`; others are frozen, for `node` works across them."""
    channels = labeller.channels(source)
    if channels is not None and channels.axis != axis:
        freeze(labeller, source, f"{describe(node)} works along another axis than its channels'")
        return None
    return channels

"""The layers with weights that a plan speaks of, each under the user's name, and why some have no channels to lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.labels import Flow, Labelling
from edgepress.compress._channels.nodes import RECURRENT, shape_at_batch_one


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with weights. `outputs` and `inputs` are the class of each channel; None: none can be removed."""

    name: str
    type: str
    node: Node
    outputs: np.ndarray | None
    inputs: np.ndarray | None
    makes_channels: bool
    """False for a depthwise layer, whose outputs are its inputs, and for one without channels."""

    @property
    def input_count(self) -> int:
        """How many channels the layer reads; of an embedding, how many words it has."""
        axis = 1 if self.node.target in graph.CONVOLUTIONS else 0 if self.type == "embedding" else -1
        return shape_at_batch_one(self.node.all_input_nodes[0])[axis]

    @property
    def why_without_channels(self) -> str:
        """Why there is nothing to remove where `outputs` is None."""
        if self.type in RECURRENT:
            return "a recurrent layer that projects its states keeps its width"
        if graph.weight_node(self.node) is None:
            return "its weight is computed in the forward"
        return "its input's channels cannot be removed, and it works on each by itself"


def layers_of(labelling: Labelling) -> Iterator[Layer]:
    """Every layer with weights once, in execution order."""
    for name, node in named_layers(labelling.graph_module).items():
        # What an embedding has first is its weight, which has no labels of its own.
        outputs, inputs = (_classes(labelling, one) for one in (node, node.all_input_nodes[0]))
        yield Layer(
            name=name,
            type=graph.op_name(node),
            node=node,
            outputs=outputs,
            inputs=inputs,
            makes_channels=outputs is not None and labelling.flows[node] is not Flow.KEEPS,
        )


def named_layers(graph_module: GraphModule) -> dict[str, Node]:
    """Every layer with weights once, under the user's name; where several have one name, under the weight's."""
    nodes: dict[str, Node] = {}
    for node in graph.operators(graph_module):
        if node.target in graph.WEIGHTED:
            weight = graph.weight_node(node)
            key = str(weight.target) if weight else f"{graph.layer_name(node)}.{node.name}"
            nodes.setdefault(key, node)
        elif graph.op_name(node) in (*RECURRENT, "embedding"):
            nodes.setdefault(graph.layer_name(node), node)
    names = {key: graph.layer_name(node) for key, node in nodes.items()}
    uses = Counter(names.values())
    return {names[key] if uses[names[key]] == 1 else key: node for key, node in nodes.items()}


def output_count(node: Node) -> int:
    """How many output channels a layer with weights has."""
    made = node.meta["val"]
    shape = (made[0] if isinstance(made, tuple | list) else made).shape
    return int(shape[1 if node.target in graph.CONVOLUTIONS else -1])


def _classes(labelling: Labelling, node: Node) -> np.ndarray | None:
    return None if labelling.channels.get(node) is None else labelling.classes_of(node)

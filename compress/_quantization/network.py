"""Makes a float graph int8 by a plan and its ranges: pairs on the activations first, then one layer after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._low_bit.counts import bias_in_steps
from edgepress.compress._quantization.biases import separate_biases
from edgepress.compress._quantization.blocks import find_blocks
from edgepress.compress._quantization.insert import insert_pairs, insert_weights
from edgepress.compress._quantization.layer import Layer, Rounded
from edgepress.compress._quantization.learned import LayerRounder, analytic_bias, can_learn
from edgepress.compress._quantization.orientation import outputs_first
from edgepress.compress._quantization.plan import Plan
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.together import rounded_together
from edgepress.compress._quantization.weights import QuantizedWeight, nearest, weight_scales
from edgepress.data import Batch
from edgepress.progress import Progress


def quantize(
    graph_module: GraphModule,
    made: Plan,
    ranges: Mapping[Node, Range],
    layers: Sequence[Layer],
    batches: Iterable[Batch],
    progress: Progress,
) -> dict[Layer, Rounded]:
    """Rewrite in place. `ranges` holds one for each tensor of the plan; `layers` are in the order of execution, one
    for each weight; `batches` are for those whose rounding or bias is learned."""
    separate_biases(graph_module, made)
    learned = [layer for layer in layers if layer.is_watched and can_learn(graph_module, layer.node)]
    for layer in layers:
        for one in (layer, *layer.others):
            _give_bias(graph_module, one)
    teacher = graph.copied(graph_module) if learned else None
    insert_pairs(graph_module, made, ranges)
    blocks = find_blocks(graph_module, [layer for layer in learned if layer.rounding == "block"])
    rounder = None if teacher is None else LayerRounder(graph_module, teacher, learned, batches, blocks)
    ends = {block.layers[-1]: block for block in blocks}
    results: dict[Layer, Rounded] = {}
    for number, layer in enumerate(layers):
        if rounder is not None and layer in learned:
            progress("rounding layer by layer", number, len(layers))
            results[layer] = rounder.round(layer)
        else:
            results[layer] = _nearest(graph_module, layer)
        others = [(other, _biased(graph_module, other, results[layer].weight)) for other in layer.others]
        for other, alike in others:
            _kept(graph_module, made, other, alike)
        results[layer] = _kept(graph_module, made, layer, results[layer])
        if rounder is not None and layer in ends:
            better = rounded_together(graph_module, ends[layer], *rounder.around(ends[layer]), results)
            results |= {one: _kept(graph_module, made, one, rounded) for one, rounded in better.items()}
    if rounder is not None:
        progress("rounding layer by layer", len(layers), len(layers))
    insert_weights(graph_module, {layer.node: rounded.weight for layer, rounded in results.items()})
    return results


def _kept(graph_module: GraphModule, made: Plan, layer: Layer, rounded: Rounded) -> Rounded:
    """What is stored of a layer: where it reads integers, with a bias that they can hold."""
    if layer.node in made.readers:
        rounded = _as_held(graph_module, layer, rounded)
    _store(graph_module, layer.node, rounded)
    return rounded


def _nearest(graph_module: GraphModule, layer: Layer) -> Rounded:
    """With headroom for what each of its readers reads."""
    weight, bias = _weight(graph_module, layer), _bias(graph_module, layer)
    scales = weight_scales(weight, bias, layer.inputs, layer.weight)
    for other in layer.others:
        scales = torch.maximum(scales, weight_scales(weight, None, other.inputs, layer.weight))
    return _biased(graph_module, layer, nearest(weight, scales, layer.weight.bits.weight_limit))


def _biased(graph_module: GraphModule, layer: Layer, made: QuantizedWeight) -> Rounded:
    """With what the layer's own inputs want of its bias."""
    weight, bias = _weight(graph_module, layer), _bias(graph_module, layer)
    return Rounded(made, analytic_bias(layer, weight, bias, made))


def _weight(graph_module: GraphModule, layer: Layer) -> torch.Tensor:
    """Output channels first."""
    weight = graph.constant(graph_module, graph.weight_node(layer.node))
    assert weight is not None, "the plan has layers with stored weights alone"
    return outputs_first(layer.node, weight)


def _bias(graph_module: GraphModule, layer: Layer) -> torch.Tensor | None:
    return graph.constant(graph_module, graph.arguments(layer.node)["bias"])


def _give_bias(graph_module: GraphModule, layer: Layer) -> None:
    """A bias of zeros where one will be needed: later, the graph is being walked through."""
    if layer.means is not None and _bias(graph_module, layer) is None:
        graph.add_bias(graph_module, layer.node, torch.zeros(len(_weight(graph_module, layer))))


def _as_held(graph_module: GraphModule, layer: Layer, rounded: Rounded) -> Rounded:
    """With its bias as integer runtimes hold it, in whole steps of the layer: what they would round, the program has
    rounded. Else every layer is up to half such a step off in the file, and where values are compared with each
    other (an unpooling) one that falls to the other side moves."""
    bias = _bias(graph_module, layer) if rounded.bias is None else rounded.bias
    if bias is None:
        return rounded
    return dataclasses.replace(rounded, bias=bias_in_steps(rounded.weight, bias, layer.inputs.scale))


def _store(graph_module: GraphModule, layer: Node, rounded: Rounded) -> None:
    """Let the layers that follow see what the integers give."""
    weight, bias = graph.weight_node(layer), graph.arguments(layer)["bias"]
    assert weight is not None
    graph.set_constant(
        graph_module, str(weight.target), outputs_first(layer, rounded.weight.restored()).float()
    )
    if rounded.bias is None:
        return
    if bias is None:
        graph.add_bias(graph_module, layer, rounded.bias.float())
    else:
        graph.set_constant(graph_module, str(bias.target), rounded.bias.float())

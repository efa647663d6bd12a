"""Reading the captured ATen graph: what a node computes, with which arguments, in which of the user's layers.

All functions take nodes of `Program.graph_module()`: parameters are `get_attr` nodes whose target is
the parameter's name in the user's model, everything else is a `call_function` of an ATen operator.
"""

from __future__ import annotations

import copy
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # noqa: F401  registers the operators of QUANTIZE and DEQUANTIZE
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from edgepress.layer_output import LayerOutput
from edgepress.quantized_form import Activations, QuantizedForm

aten = torch.ops.aten
decomposed = torch.ops.quantized_decomposed

Copied = TypeVar("Copied", bound=torch.nn.Module | torch.fx.Graph)

QUANTIZE = decomposed.quantize_per_tensor.default
DEQUANTIZE = decomposed.dequantize_per_tensor.default
DEQUANTIZE_CHANNELS = decomposed.dequantize_per_channel.default
DEQUANTIZE_GROUPS = decomposed.dequantize_per_channel_group.default
DEQUANTIZE_WEIGHTS = (DEQUANTIZE_CHANNELS, DEQUANTIZE_GROUPS)
"""Activations pass through QUANTIZE and DEQUANTIZE; an int8 weight, a buffer, through DEQUANTIZE_CHANNELS, or through
DEQUANTIZE_GROUPS where every `group_size` inputs of an output have a scale of their own."""

FIND_SCALE = decomposed.choose_qparams.tensor
QUANTIZE_DYNAMIC = decomposed.quantize_per_tensor.tensor
DEQUANTIZE_DYNAMIC = decomposed.dequantize_per_tensor.tensor
"""The same with a scale that FIND_SCALE finds in the values while the network runs."""

CONVOLUTIONS = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv3d.default,
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.conv_transpose3d.input,
)
WEIGHTED = (*CONVOLUTIONS, aten.linear.default)

RELAID: dict[Any, Callable[..., Any]] = dict.fromkeys(
    (aten.view.default, aten._unsafe_view.default), aten.reshape.default
)
"""Of operators that refuse tensors which lie otherwise in memory than they were captured with, those that take them."""


def operators(graph_module: GraphModule) -> Iterator[Node]:
    """The nodes that compute something, in execution order."""
    return (node for node in graph_module.graph.nodes if node.op == "call_function")


def op_name(node: Node) -> str:
    """`conv2d` for aten.conv2d.default, `getitem` for operator.getitem: the type that rules speak of."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))


def arguments(node: Node) -> dict[str, Any]:
    """The arguments by their names in the operator's schema, defaults filled in; none of what has no schema (getitem)."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(node.kwargs)
    values = {
        argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()
    }
    values.update(
        {argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)}
    )
    values.update(node.kwargs)
    return values


def computed(node: Node, value: Callable[[Node], Any]) -> Any:
    """What the node's operator makes when each of its input nodes stands for `value` of it, however that lies in memory."""
    assert callable(node.target), "a node that computes calls an operator"
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), value)
    return RELAID.get(node.target, node.target)(*args, **kwargs)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) from what PyTorch takes for them: one number or two."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers[0], numbers[-1])


def shape(node: Node) -> tuple[int | None, ...]:
    """The shape of the node's tensor; None where it depends on the batch."""
    return tuple(size if isinstance(size, int) else None for size in node.meta["val"].shape)


def at_batch_one(value: Any) -> Any:
    """`value`, a number of the graph, when the batch is 1; anything else stays as it is."""
    return at_batch(value, 1)


def at_batch(value: Any, batch: int) -> Any:
    """`value`, a number of the graph, at this batch size; anything else stays as it is."""
    if isinstance(value, Node):
        value = value.meta["val"]
    if isinstance(value, torch.SymInt):
        return _evaluated(value.node.expr, batch)
    return value


@functools.lru_cache(maxsize=4096)
def _evaluated(expression: Any, batch: int) -> int:
    return int(expression.subs(dict.fromkeys(expression.free_symbols, batch)))


def constant(graph_module: GraphModule, node: Any) -> torch.Tensor | None:
    """The parameter or buffer behind a `get_attr` node; None for anything else."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value = stored(graph_module, str(node.target))
    return value if isinstance(value, torch.Tensor) else None


def stored(module: torch.nn.Module, name: str) -> Any:
    """What stands under the dotted `name`: a parameter or buffer, where the caller knows of one."""
    owner, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(owner), leaf)


def remove_constant(module: torch.nn.Module, name: str) -> None:
    """Take away the parameter or buffer under the dotted `name`, which nothing in the graph reads any more."""
    owner, _, leaf = name.rpartition(".")
    delattr(module.get_submodule(owner), leaf)


def readers(graph_module: GraphModule, node: Any) -> int:
    """How many operators read the parameter or buffer behind a `get_attr` node; 0 for anything else."""
    if constant(graph_module, node) is None:
        return 0
    return sum(len(other.users) for other in graph_module.graph.nodes if other.target == node.target)


def only_reader(node: Node) -> Node | None:
    """The one node that reads what this one gives; None where there are several, or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def set_constant(graph_module: GraphModule, name: str, value: torch.Tensor) -> None:
    """Store `value` under the dotted `name`: a parameter where one stands or `value` is one, else a buffer."""
    owner, _, leaf = name.rpartition(".")
    module: torch.nn.Module = graph_module
    for part in owner.split(".") if owner else ():
        if not hasattr(module, part):
            module.add_module(part, torch.nn.Module())
        module = getattr(module, part)
    old = getattr(module, leaf, None)
    if hasattr(module, leaf):
        delattr(module, leaf)
    if isinstance(old, torch.nn.Parameter) and not isinstance(value, torch.nn.Parameter):
        value = torch.nn.Parameter(value.detach(), requires_grad=value.is_floating_point())
    if isinstance(value, torch.nn.Parameter):
        module.register_parameter(leaf, value)
    else:
        module.register_buffer(leaf, value)


def add_bias(graph_module: GraphModule, layer: Node, bias: torch.Tensor) -> str:
    """Give a convolution or linear layer that has none a bias, under a name that nothing in its module has: the name."""
    weight = weight_node(layer)
    assert weight is not None, "the layers that get a bias have a stored weight"
    owner, _, leaf = str(weight.target).rpartition(".")
    leaf = leaf.removesuffix("weight") + "bias" if leaf.endswith("weight") else f"{leaf}_bias"
    names = itertools.chain([leaf], (f"{leaf}_{number}" for number in itertools.count(1)))
    module = graph_module.get_submodule(owner)
    leaf = next(free for free in names if getattr(module, free, None) is None)
    name = f"{owner}.{leaf}".removeprefix(".")
    set_constant(graph_module, name, torch.nn.Parameter(bias))
    with graph_module.graph.inserting_before(layer):
        layer.args = (*layer.args[:2], graph_module.graph.get_attr(name), *layer.args[3:])
    return name


def batch_norm_affine(graph_module: GraphModule, norm: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch norm with stored statistics as `x * factor + shift`, each (channels,), in float64: one rounding, at the end."""
    given = arguments(norm)
    weight, bias, mean, variance = (
        None if value is None else value.detach().double()
        for value in (
            constant(graph_module, given[name]) for name in ("weight", "bias", "running_mean", "running_var")
        )
    )
    assert mean is not None, "in evaluation mode it has running statistics"
    assert variance is not None
    factor = (variance + given["eps"]).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


def weight_node(node: Node) -> Node | None:
    """The `get_attr` node of the weight of a convolution or linear layer, seen through a dequantize."""
    weight = arguments(node).get("weight")
    if isinstance(weight, Node) and weight.target in DEQUANTIZE_WEIGHTS:
        weight = weight.args[0]
    return weight if isinstance(weight, Node) and weight.op == "get_attr" else None


def weight_name(node: Node) -> str:
    """The parameter that is the weight of a convolution or linear layer; "" where there is none, or it is computed."""
    weight = weight_node(node) if node.target in WEIGHTED else None
    return "" if weight is None else str(weight.target)


def quantized_form(graph_module: GraphModule) -> QuantizedForm | None:
    """The form in which a network is quantized; None for a float one."""
    nodes = list(operators(graph_module))
    weights = [node for node in nodes if node.target in DEQUANTIZE_WEIGHTS]
    static = {arguments(node)["dtype"] for node in nodes if node.target is QUANTIZE}
    found: Activations = "float"
    if any(node.target is QUANTIZE_DYNAMIC for node in nodes):
        found = "dynamic"
    elif static:
        found = "int16" if torch.int16 in static else "int8"
    elif not weights:
        return None
    bits = {int(arguments(node)["quant_max"]).bit_length() + 1 for node in weights}
    grouped = any(node.target is DEQUANTIZE_GROUPS for node in weights)
    return QuantizedForm(found, tuple(sorted(bits)), grouped)


def layer_name(node: Node) -> str:
    """The user's name for the layer: the module that owns the weight, else the module it was called in."""
    if weight := weight_name(node):
        return weight.rpartition(".")[0] or weight
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path and path[0] != "_"]
    return stack[-1] if stack else node.name


def layers(graph_module: GraphModule) -> list[tuple[str, str]]:
    """(name, type) of every operator, as per-layer rules match them."""
    return [(layer_name(node), op_name(node)) for node in operators(graph_module)]


def run(module: Callable[..., Any], arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What a network gives for NumPy arrays: one array an output."""
    with torch.inference_mode():
        outputs = module(*(torch.from_numpy(array) for array in arrays))
    leaves, _ = torch.utils._pytree.tree_flatten(outputs)
    return tuple(leaf.numpy() for leaf in leaves)


def layer_outputs(graph_module: GraphModule, inputs: Sequence[torch.Tensor]) -> tuple[LayerOutput, ...]:
    """What every operator gives for the inputs, where that is one tensor of real numbers, in execution order."""
    found: list[LayerOutput] = []

    class Recording(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            result = super().run_node(n)
            if n.op == "call_function" and n.target not in DEQUANTIZE_WEIGHTS and _is_real(result):
                # A copy: an operator that works in place may overwrite it.
                found.append(LayerOutput(layer_name(n), op_name(n), result.float().numpy().copy()))
            return result

    with torch.inference_mode():
        Recording(graph_module).run(*inputs)
    return tuple(found)


def _is_real(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0


def sized_by_values(node: Node) -> bool:
    """Whether a size of what it gives is known only as the network runs, as that of x[x > 0] is."""
    return bool(free_unbacked_symbols(node.meta.get("val")))


def source_line(node: Node) -> str:
    """The line of the user's code that made the node, or an empty text."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    return " | ".join(lines[-2:])


def copied(original: Copied) -> Copied:
    """A copy that shares nothing. PyTorch copies graphs in a way that it announces it will drop, which is not the user's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(original)


def place(module: GraphModule, device: torch.device) -> None:
    """Move a graph's weights to `device`, and the tensors that it makes on the way."""
    if all(tensor.device == device for tensor in module.state_dict().values()):
        return
    module.to(device)
    for node in module.graph.nodes:
        if "device" in node.kwargs:
            node.update_kwarg("device", device)
    module.recompile()

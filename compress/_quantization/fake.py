"""A graph that quantizes as the finished network will, but in float, so that it can be trained; and back from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._low_bit.counts import bias_in_steps, counted
from edgepress.compress._low_bit.form import WeightForm, call_behind
from edgepress.compress._low_bit.norm import Norm, Spread
from edgepress.compress._quantization.biases import separate_biases
from edgepress.compress._quantization.few_bits import range_of_step
from edgepress.compress._quantization.insert import insert_pairs, insert_weights
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.learned_steps import fake_quantize
from edgepress.compress._quantization.plan import Plan
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST, SMALLEST_SCALE, Range
from edgepress.compress._quantization.weights import (
    BIAS_LIMIT,
    QuantizedWeight,
    WeightOptions,
    beside,
    nearest,
    weight_scales,
)
from edgepress.compress._training.hook import TrainingHook
from edgepress.trainable import Trainable

SHARES, CALIBRATED = "edgepress_step_shares", "edgepress_calibrated_steps"
"""Where the learned and the constant half of a step are while the network trains."""

NORMS = "edgepress_norms"
"""Where the batch norms behind layers of few bits are while the network trains."""

Rounding = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int, int], torch.Tensor]
"""What fake_quantize is: of values, both halves of their step, and the integers' ends."""

SMALLEST_SHARE = 2.0**-10
"""Of its calibrated self a step keeps at least this: it must stay positive."""

LARGEST_MOVE = 0.02
"""Of itself, by which a step may change in one step of training. Without it, one large gradient throws a step so far
that all its values become zero or are clipped, and no gradient brings it back."""

LARGEST_GRADIENT = 1.0
"""The norm to which the gradients of all steps are clipped, and those of everything else. A network whose batch norms
are folded has nothing else that keeps it from diverging at the rates that training with few bits wants."""


@dataclass(frozen=True)
class Quantizer:
    """One step size, or one for each channel of a weight: integers from `low` to `high`, where 0 stands for 0.0."""

    name: str
    low: int
    high: int
    rounding: Rounding = fake_quantize

    @property
    def most(self) -> int:
        """The largest magnitude of an integer, zero being 0.0."""
        return max(-self.low, self.high)

    def step(self, module: torch.nn.Module) -> torch.Tensor:
        """The step as it is now: float32, a scalar or one for each channel."""
        return (self._half(module, SHARES) * self._half(module, CALIBRATED)).detach()

    @torch.no_grad()
    def keep_above(self, module: torch.nn.Module, smallest: torch.Tensor) -> None:
        """Enlarge the steps that are smaller than this, or than SMALLEST_SHARE."""
        share = self._half(module, SHARES)
        wanted = smallest / self._half(module, CALIBRATED)
        share.copy_(torch.maximum(share, wanted).clamp(min=SMALLEST_SHARE))

    def insert(self, graph_module: GraphModule, tensor: Node) -> Node:
        """A node that quantizes `tensor`, right behind it; nobody reads it yet."""
        halves = [f"{holder}.{self.name}" for holder in (SHARES, CALIBRATED)]
        return call_behind(graph_module, tensor, self.rounding, halves, (self.low, self.high))

    def _half(self, module: torch.nn.Module, holder: str) -> torch.Tensor:
        half: torch.Tensor = graph.stored(module, f"{holder}.{self.name}")
        return half


@dataclass(frozen=True)
class LearnedSteps(WeightForm):
    """Integers with a learned step for each channel."""

    steps: Quantizer

    def insert(self, graph_module: GraphModule, weight: Node, holder: str) -> Node:
        return self.steps.insert(graph_module, weight)

    def integers(self, module: torch.nn.Module, weight: torch.Tensor, holder: str) -> QuantizedWeight:
        return nearest(weight, self.steps.step(module), self.steps.high)


@dataclass(frozen=True)
class _Weight:
    """The names of a weight and its bias, the weight's form and where it keeps what it needs, and what quantizes
    the values that are multiplied by it."""

    name: str
    bias: str | None
    form: WeightForm
    holder: str
    inputs: Quantizer


class FakeQuantized(TrainingHook):
    """Brings the graph module into its trainable form when made, and into its int8 form by `finish`; in between keeps
    every step large enough, and the training from diverging."""

    def __init__(
        self,
        graph_module: GraphModule,
        plan: Plan,
        ranges: Mapping[Node, Range],
        layers: Mapping[Layer, WeightOptions],
        forms: Mapping[Layer, WeightForm] = MappingProxyType({}),
        one_bit: Rounding = fake_quantize,
    ) -> None:
        """`ranges` holds one for each tensor of the plan, `layers` how each weight is quantized: with learned steps,
        unless `forms` has another way. `one_bit` rounds the activations that have no more."""
        self.forms = forms
        self._graph_module, self._plan, self._ranges = graph_module, plan, ranges
        self._before: dict[str, torch.Tensor] = {}
        self._inserted: list[Node] = []
        self._norms: dict[Node, Norm] = {}
        self._quantizers = 0
        separate_biases(graph_module, plan)
        others = [other for layer in layers for other in layer.others]
        sources = {layer: layer.node.all_input_nodes[0] for layer in (*layers, *others)}
        found = {
            layer: forms.get(layer) or self._learned(layer, options) for layer, options in layers.items()
        }
        names = {layer: _names(layer) for layer in sources}
        holders = {layer: self._insert_form(names[layer][0], form) for layer, form in found.items()}
        self._activations = self._quantize_activations(one_bit)
        self._weights = {
            layer: _Weight(*names[layer], found[layer], holder, self._activations[sources[layer]])
            for layer, holder in holders.items()
        }
        self._others = {one: (names[one][1], self._activations[sources[one]]) for one in others}
        graph_module.recompile()

    def normalise(self, spreads: Mapping[Node, Spread]) -> None:
        """Put a batch norm behind each of these layers that keeps its channels as they were in float. Its running
        statistics have to be measured before it is used but to train."""
        for number, (layer, spread) in enumerate(spreads.items()):
            self._norms[layer] = Norm.behind(self._graph_module, layer, spread, f"{NORMS}.norm_{number}")
        self._graph_module.recompile()

    def before_step(self, module: Trainable, step: int) -> None:
        steps = list(module.get_submodule(SHARES).parameters())
        others = [value for name, value in module.named_parameters() if not name.startswith(f"{SHARES}.")]
        for parameters in (steps, others):
            torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        self._before = {name: share.clone() for name, share in _shares(module).items()}

    @torch.no_grad()
    def after_step(self, module: Trainable, step: int) -> None:
        for name, share in _shares(module).items():
            before = self._before[name]
            share.copy_(share.clamp(before * (1 - LARGEST_MOVE), before * (1 + LARGEST_MOVE)))
        self._keep_steps(module)

    def after_epoch(self, module: Trainable, epoch: int) -> None:
        self._keep_steps(module)

    def finish(self) -> dict[Node, Range]:
        """Store integers, and pairs of the learned scales; the ranges that int8 covers now."""
        weights = {layer.node: self._integers(layer, weight) for layer, weight in self._weights.items()}
        ranges = {tensor: self._range(tensor) for tensor in self._ranges}
        for made in self._inserted:
            made.replace_all_uses_with(made.all_input_nodes[0])
            self._graph_module.graph.erase_node(made)
        self._graph_module.graph.eliminate_dead_code()
        for holder in (SHARES, CALIBRATED, NORMS):
            self._graph_module.delete_submodule(holder)
        insert_pairs(self._graph_module, self._plan, ranges)
        insert_weights(self._graph_module, weights)
        return ranges

    def _learned(self, layer: Layer, options: WeightOptions) -> LearnedSteps:
        weight = graph.constant(self._graph_module, graph.weight_node(layer.node))
        bias = graph.constant(self._graph_module, graph.arguments(layer.node)["bias"])
        assert weight is not None, "the plan has layers with stored weights alone"
        limit = options.bits.weight_limit
        start = weight_scales(weight, bias, layer.inputs, options)
        return LearnedSteps(self._added(start, -limit, limit, learned=True))

    def _insert_form(self, name: str, form: WeightForm) -> str:
        """For all that read the weight of this name. Returns the name of what the form has stored."""
        self._quantizers += 1
        holder = f"{SHARES}.form_{self._quantizers}"
        for reader in list(self._graph_module.graph.nodes):
            if reader.op == "get_attr" and reader.target == name:
                users = list(reader.users)
                self._redirect(reader, form.insert(self._graph_module, reader, holder), users)
        return holder

    def _quantize_activations(self, one_bit: Rounding) -> dict[Node, Quantizer]:
        found: dict[Node, Quantizer] = {}
        for scale in self._plan.scales:
            range = self._ranges[scale.tensors[0]]
            # Inputs have headroom that a learned step would take, and a fixed scale is no choice.
            learned = scale.fixed is None and not scale.is_input
            low, high = LOWEST - range.zero_point, HIGHEST - range.zero_point
            rounding = one_bit if high == 1 else fake_quantize
            made = self._added(torch.tensor(range.scale), low, high, learned=learned, rounding=rounding)
            found |= dict.fromkeys(scale.tensors, made)
        readers = self._plan.readers
        for tensor, quantizer in found.items():
            users = [user for user in tensor.users if tensor in readers or user in readers]
            self._redirect(tensor, quantizer.insert(self._graph_module, tensor), users)
        return found

    def _added(
        self, start: torch.Tensor, low: int, high: int, *, learned: bool, rounding: Rounding = fake_quantize
    ) -> Quantizer:
        """A new one, whose step starts as `start`."""
        self._quantizers += 1
        made = Quantizer(f"step_{self._quantizers}", low, high, rounding)
        share = torch.ones_like(start)
        stored = torch.nn.Parameter(share) if learned else share
        graph.set_constant(self._graph_module, f"{SHARES}.{made.name}", stored)
        graph.set_constant(self._graph_module, f"{CALIBRATED}.{made.name}", start)
        return made

    def _redirect(self, tensor: Node, made: Node, users: Sequence[Node]) -> None:
        """Let `users` read what is made of the tensor."""
        if made is not tensor:
            for user in users:
                user.replace_input_with(tensor, made)
            self._inserted.append(made)

    def _keep_steps(self, module: Trainable) -> None:
        """Positive, and such that a bias fits int32 in steps of its layer."""
        for quantizer in self._activations.values():
            quantizer.keep_above(module, torch.zeros(()))
        for weight in self._weights.values():
            if isinstance(weight.form, LearnedSteps):
                weight.form.steps.keep_above(module, _least_step(module, weight))

    def _integers(self, layer: Layer, weight: _Weight) -> QuantizedWeight:
        """A channel whose scale has vanished is zero."""
        module, node = self._graph_module, layer.node
        made = weight.form.integers(module, graph.stored(module, weight.name), weight.holder)
        if node in self._norms:
            bias = None if weight.bias is None else graph.stored(module, weight.bias)
            made, folded = self._norms[node].fold(module, made, bias)
            if weight.bias is None:
                weight = dataclasses.replace(weight, bias=graph.add_bias(module, node, folded))
            else:
                graph.set_constant(module, weight.bias, folded)
        scales = torch.maximum(made.scales, _least_step(module, weight).clamp(min=SMALLEST_SCALE))
        values = made.values * beside(scales == made.scales, made.values)
        return self._in_steps(layer, weight, QuantizedWeight(values, scales, made.limit))

    def _in_steps(self, layer: Layer, weight: _Weight, made: QuantizedWeight) -> QuantizedWeight:
        """The weight and, in place, the biases of all that read it, as integer runtimes hold them."""
        module, found = self._graph_module, None
        given = None if layer.others else self._one_bit_behind(layer.node)
        if weight.bias is not None and given is not None:
            bias, read = graph.stored(module, weight.bias).detach(), float(weight.inputs.step(module))
            found = counted(made, bias, read, weight.inputs.most, float(given.step(module)))
        if weight.bias is not None and found is not None:
            made, bias = found
            graph.set_constant(module, weight.bias, bias)
            return made
        for name, inputs in ((weight.bias, weight.inputs), *(self._others[one] for one in layer.others)):
            if name is not None:
                bias = bias_in_steps(made, graph.stored(module, name).detach(), float(inputs.step(module)))
                graph.set_constant(module, name, bias)
        return made

    def _one_bit_behind(self, layer: Node) -> Quantizer | None:
        """What makes one bit of all that the layer gives; None where something else reads that."""
        users = list(layer.users)
        if len(users) != 1 or graph.op_name(users[0]) != "relu":
            return None
        found = self._activations.get(users[0])
        is_all = all(user in self._inserted for user in users[0].users)
        return found if found is not None and found.high == 1 and is_all else None

    def _range(self, tensor: Node) -> Range:
        quantizer, range = self._activations[tensor], self._ranges[tensor]
        step = float(quantizer.step(self._graph_module))
        return range if step == range.scale else range_of_step(step, range.zero_point)


def _shares(module: Trainable) -> dict[str, torch.Tensor]:
    """Those that are learned."""
    return {name: share.detach() for name, share in module.get_submodule(SHARES).named_parameters()}


def _names(layer: Layer) -> tuple[str, str | None]:
    """Those of the layer's weight and bias."""
    weight, bias = graph.weight_node(layer.node), graph.arguments(layer.node)["bias"]
    assert weight is not None, "the plan has layers with stored weights alone"
    return str(weight.target), None if bias is None else str(bias.target)


def _least_step(module: torch.nn.Module, weight: _Weight) -> torch.Tensor:
    """That of the weight with which its bias fits int32 in steps of the layer: a number, or one for each channel."""
    bias = torch.zeros(()) if weight.bias is None else graph.stored(module, weight.bias).detach().abs()
    return bias / (weight.inputs.step(module) * BIAS_LIMIT)

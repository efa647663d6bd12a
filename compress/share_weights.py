"""Let the weights of each layer share a few values, for files that are far smaller; for size, not for speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt

from edgepress import graph
from edgepress.compress import _batch_norm
from edgepress.compress._sharing.choice import MOST_BITS, Sharable, Sharing, fewest_values, within
from edgepress.compress._sharing.codebook import Initialisation
from edgepress.compress._sharing.effect import measured_effects
from edgepress.compress._sharing.fit import fitted
from edgepress.compress._sharing.inputs import Inputs, correct_biases, read_inputs
from edgepress.compress._sharing.keep import shared_weights, still_shared
from edgepress.compress._sharing.report import results, summary
from edgepress.compress._sparse.layers import Layer, read_weights
from edgepress.data import Batch, Data
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome, Stage

__all__ = ["ShareWeights", "shared"]

SKIPPED = "a rule leaves it alone, or all of it is zero"
STANDARD_BITS = 5
"""What Deep Compression takes for fully connected layers: 32 values."""

EFFECT_SAMPLES = 32
"""On which the layers are weighed against each other."""


@dataclass(frozen=True, kw_only=True)
class ShareWeights(Stage):
    """k-means codebooks, one for each convolution and linear layer (Han et al., 2016, Deep Compression). Zeros stay
    zero and take no entry, so prune weights before.

    One of these says how far to go:

    bits: every layer's weights take at most 2**bits values besides zero; 5 where nothing is said.
    size: the share of these weights' bytes that their codes and codebooks may take. Layers get the values that keep
        their outputs closest, weighed against the bits of their codes (Choi et al., 2017, Towards the Limit of Network
        Quantization).
    sqnr_db: every layer gets the values of the shortest codes that leave its outputs this ratio of signal to noise.

    initialisation: where k-means begins: linear, density or random as in the paper, or optimal (dynamic programming).
    weigh_by_inputs: with data, an error counts as much as the inputs that it is multiplied by.
    weigh_by_effect: with data and a size, a layer's noise counts as much as is heard of it in the network's outputs,
        which takes a pass over 32 samples for each layer.
    correct_means: with data, what outputs lose on average is made up for in biases and batch-norm statistics.
    fit_outputs: with data and optimal codebooks, the shared values are fitted layer by layer to what each gave before,
        from what it reads then: refitted by least squares, and each weight's value chosen with a view on the output
        (Frantar et al., 2022, GPTQ). In the same bytes, a decibel or two less noise; seconds to minutes.
    samples, batch_size: how much data that uses.

    Convert to .epz for the small file. Training after this stage trains the shared values (fine_tune, distill) and keeps
    the codebooks; quantization, refitting and pruning in training undo them, which is then said. Rules can set
    bits for single layers; one with `skip` leaves a layer alone.
    """

    shorthand = "bits"
    per_layer = frozenset({"bits"})

    bits: Annotated[int, Ge(1), Le(MOST_BITS)] | None = None
    size: Annotated[float, Gt(0), Lt(1)] | None = None
    sqnr_db: Annotated[float, Gt(0)] | None = None
    initialisation: Initialisation = "optimal"
    weigh_by_inputs: bool = True
    weigh_by_effect: bool = True
    correct_means: bool = True
    fit_outputs: bool = True
    samples: Annotated[int, Ge(1)] = 256
    batch_size: Annotated[int, Ge(1)] = 32

    def check(self, program: Program) -> None:
        """Raise BadOption for two budgets at once, UnsupportedModel when no weight can be shared."""
        given = [name for name in ("bits", "size", "sqnr_db") if getattr(self, name) is not None]
        if len(given) > 1:
            raise BadOption(
                f"{' and '.join(given)} exclude each other: each of them sets the number of bits.",
                where=self.name(),
                hint="leave all but one out",
            )
        weights = read_weights(program.graph_module())
        if not weights.layers:
            raise UnsupportedModel(
                "No weight of this network can be shared.",
                where="; ".join(f"{name}: {reason}" for name, reason in weights.reasons.items())
                or "it has no layers",
                hint="sharing takes every convolution and linear layer",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BudgetMissed when even one value for each layer takes more than `size`."""
        weights = read_weights(program.graph_module())
        wanted = {
            layer: weight
            for layer, weight in weights.layers.items()
            if context.rules.apply(self, layer.name, layer.type) is not None and bool(weight.any())
        }
        inputs = self._inputs(program, wanted, context)
        layers = [
            Sharable(
                layer,
                weight.detach().double().numpy(),
                inputs[layer.weight].mean_square if inputs and self.weigh_by_inputs else None,
            )
            for layer, weight in wanted.items()
        ]
        stored_bytes = sum(weight.nbytes for weight in wanted.values())
        planned = self._chosen(program, layers, stored_bytes, context)
        shared, chosen = self._shared(program, planned, inputs, context)
        # What was fitted gives the mean and variance that its batch norm knows, but for what cannot be had.
        data = None if self._fits(context) else context.data
        if self.correct_means and data is not None and _batch_norm.is_needed(shared):
            shared = _batch_norm.reestimated(shared, self._batches(program, data))
        context.announce(summary(chosen))
        left = {layer.name: SKIPPED for layer in weights.layers if layer not in wanted}
        return Outcome(shared, results(chosen, {**weights.reasons, **left}))

    def _batches(self, program: Program, data: Data) -> Iterator[Batch]:
        return data.batches("calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples)

    def _fits(self, context: Context) -> bool:
        return self.fit_outputs and self.initialisation == "optimal" and context.data is not None

    def _inputs(
        self, program: Program, layers: Mapping[Layer, torch.Tensor], context: Context
    ) -> Mapping[str, Inputs]:
        """What the layers read; nothing without data."""
        if context.data is None or not layers or not (self.weigh_by_inputs or self.correct_means):
            return {}
        batches = self._batches(program, context.data)
        return read_inputs(program.graph_module(), layers, batches, program.signature)

    def _shared(
        self,
        program: Program,
        chosen: Mapping[Sharable, Sharing],
        inputs: Mapping[str, Inputs],
        context: Context,
    ) -> tuple[Program, Mapping[Sharable, Sharing]]:
        """The network with these values, or those fitted in their place, and biases that keep the mean of what they make."""
        graph_module = program.graph_module()
        stored = {**program.exported.state_dict, **program.exported.constants}
        lost = dict[str, torch.Tensor]()
        for layer, sharing in chosen.items():
            name, values = layer.layer.weight, torch.from_numpy(layer.shared(sharing))
            if inputs and self.correct_means:
                change = (values - torch.from_numpy(layer.weight)) * torch.from_numpy(inputs[name].mean)
                lost[name] = layer.layer.rows(change).sum((1, 2))
            graph.set_constant(graph_module, name, values.to(stored[name].dtype))
        correct_biases(graph_module, lost)
        if self._fits(context):
            batches = self._batches(program, context.required_data())
            teacher = program.graph_module()
            chosen = fitted(graph_module, teacher, chosen, batches, correct_means=self.correct_means)
        return program.replace(graph_module), chosen

    def _chosen(
        self, program: Program, layers: list[Sharable], stored_bytes: int, context: Context
    ) -> dict[Sharable, Sharing]:
        own = {layer: self._of(layer.layer, context)._alone(layer, context.seed) for layer in layers}
        fixed = {layer: sharing for layer, sharing in own.items() if sharing is not None}
        left = [layer for layer in layers if layer not in fixed]
        if left:
            assert self.size is not None, "without a size every layer is decided alone"
            taken = sum(sharing.coded_bytes for sharing in fixed.values())
            effects = self._effects(program, left, context)
            within_size = within(left, self.size * stored_bytes - taken, effects)
            fixed |= dict(zip(left, within_size, strict=True))
        return {layer: fixed[layer] for layer in layers}

    def _effects(self, program: Program, layers: list[Sharable], context: Context) -> list[float]:
        """How much the noise of each of these layers counts beside that of the others."""
        if context.data is None or not self.weigh_by_effect:
            return [1.0] * len(layers)
        batches = context.data.batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=EFFECT_SAMPLES
        )
        return measured_effects(program.graph_module(), layers, batches)

    def _of(self, layer: Layer, context: Context) -> ShareWeights:
        options = context.rules.apply(self, layer.name, layer.type)
        assert options is not None, "skipped layers are left out before"
        return options

    def _alone(self, layer: Sharable, seed: int) -> Sharing | None:
        """What the layer gets whatever the others do; None where they share a budget."""
        if self.bits is None and self.sqnr_db is not None:
            return fewest_values(layer, self.sqnr_db)
        if self.bits is None and self.size is not None:
            return None
        return layer.with_bits(self.bits or STANDARD_BITS, self.initialisation, seed)


def shared(program: Program) -> dict[str, Mapping[str, Value]]:
    """The weights, by dotted name, that share values now, and what the stage that did it said of each: bits, values,
    expected bytes."""
    now = still_shared(program, program.history)
    return {name: facts for name, facts in shared_weights(program.history).items() if name in now}

"""Choose for each layer float, 8-bit or 4-bit weights, within a budget or above a floor, then quantize."""

from __future__ import annotations

import dataclasses
import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from edgepress import graph, macs
from edgepress.compress._mixed.choices import Choice, Front
from edgepress.compress._mixed.measured import Kept
from edgepress.compress._quantization.bits import SCHEMES, Bits, Scheme
from edgepress.compress._quantization.sensitivity import scan_quantization
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data import Split
from edgepress.errors import BadOption, BudgetMissed
from edgepress.history import Value
from edgepress.program import Program
from edgepress.rules import Rule, Rules
from edgepress.sqnr import recorded_db
from edgepress.stage import Context, Outcome, Stage

FLOAT = "float"
FLOAT_BITS = 32
TRIED: Mapping[Scheme, Bits] = {"int8": SCHEMES["int8"], "w4a8": SCHEMES["w4a8"]}
ROUNDS = 4
"""How often the choice is corrected by what the quantized network really loses: learned rounding loses less than the
scan's, so that the first choice is too careful."""

Precision = Literal["float", "int8", "w4a8"]


@dataclass(frozen=True, kw_only=True)
class MixedPrecision(Stage):
    """From a scan in which every layer is quantized alone, in each precision; the errors at the network's output are taken to
    add up, and the best choice for all layers together is found exactly (a multiple-choice knapsack, as in Yao et al.,
    2021, HAWQ-V3). What comes out is what quantize_static makes, with its options in the group `quantize` (but for scheme
    and low_ends: which layer gets how many bits is what is chosen).

    One of these three, with it the aim:

    weight_bytes: the share of the float network's bytes that the weights may take, 4-bit ones packed.
    bit_macs: the share of its multiply-accumulates, each times the bits of its weight and of its activation.
    sqnr_db: what the network's output must keep on calibration samples, in dB, by as few bytes of weights as will do. It
        is measured, and the choice corrected by that a few times.

    samples: of the calibration split, for the scan.
    lowest: the fewest bits that a layer may get. Rules can set it for single layers; one with `skip` keeps a layer in float.
    """

    shorthand = "weight_bytes"
    per_layer = frozenset({"lowest"})
    makes_int8 = True

    weight_bytes: Annotated[float, Gt(0), Lt(1)] | None = None
    bit_macs: Annotated[float, Gt(0), Lt(1)] | None = None
    sqnr_db: Annotated[float, Gt(0)] | None = None
    samples: Annotated[int, Gt(0)] = 64
    lowest: Precision = "w4a8"
    quantize: QuantizeStatic = QuantizeStatic()

    def needs(self) -> frozenset[Split]:
        return self.quantize.needs()

    def check(self, program: Program) -> None:
        """Raise BadOption unless there is one aim, and what quantize_static raises."""
        aims = [self.weight_bytes, self.bit_macs, self.sqnr_db]
        if sum(aim is not None for aim in aims) != 1:
            raise BadOption(
                "mixed_precision takes exactly one target: weight_bytes, bit_macs or sqnr_db.",
                where="options of mixed_precision",
                hint="weight_bytes=0.2, bit_macs=0.05 or sqnr_db=25",
            )
        self.quantize.check(program)

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BudgetMissed where no choice meets the aim, and what quantize_static raises."""
        scanned = _Scanned.of(self, program, context)
        if self.sqnr_db is not None:
            return self._above_floor(self.sqnr_db, scanned, program, context)
        chosen = scanned.front.within_cost(self._budget(scanned))
        if chosen is None:
            raise BudgetMissed(
                f"The cheapest choice takes {(scanned.front.least_cost + scanned.fixed) / scanned.whole:.3f} of the "
                "float network's.",
                hint="a larger budget, or a lower `lowest`; prune_channels goes further",
            )
        return self._quantized(chosen, scanned, program, context)

    def _budget(self, scanned: _Scanned) -> float:
        share = self.weight_bytes if self.weight_bytes is not None else self.bit_macs
        assert share is not None, "`check` saw to one aim"
        return share * scanned.whole - scanned.fixed

    def _above_floor(self, floor_db: float, scanned: _Scanned, program: Program, context: Context) -> Outcome:
        """Ask for as much less noise as the quantized network had too much, or more where it had too little."""
        asked, last, best = floor_db, -math.inf, None
        tried: set[tuple[Choice, ...]] = set()
        for _ in range(ROUNDS):
            chosen = scanned.front.within_noise(10 ** (-asked / 10))
            if chosen is None or chosen in tried or all(choice.name == FLOAT for choice in chosen):
                break
            tried.add(chosen)
            outcome = self._quantized(chosen, scanned, program, context)
            last = _number(outcome, "network_sqnr_db")
            if last >= floor_db and (best is None or _number(outcome, "share") < _number(best, "share")):
                best = outcome
            asked += floor_db - last
        if best is None:
            raise BudgetMissed(
                f"No choice with a quantized layer reaches {floor_db:g} dB; the last one tried reached {last:.1f}.",
                hint="a lower floor, or calibration=best and more samples for quantize",
            )
        return best

    def _quantized(
        self, chosen: Sequence[Choice], scanned: _Scanned, program: Program, context: Context
    ) -> Outcome:
        named = dict(zip(scanned.names, chosen, strict=True))
        rules = [_rule(name, choice) for name, choice in named.items()]
        inner = dataclasses.replace(context, rules=Rules((*_skips(self, context), *rules)))
        outcome = dataclasses.replace(self.quantize, low_ends=True).apply(program, inner)
        noise = sum(choice.noise for choice in chosen)
        results: dict[str, Value] = {
            "precisions": {name: choice.name for name, choice in named.items()},
            "share": (sum(choice.cost for choice in chosen) + scanned.fixed) / scanned.whole,
            "predicted_sqnr_db": recorded_db(1.0, noise),
            "network_sqnr_db": scanned.kept.sqnr_db(outcome.program),
        }
        return Outcome(outcome.program, {**outcome.results, **results})


@dataclass(frozen=True, eq=False)
class _Scanned:
    """The layers' `names` and the `front` of their choices. All weights in float cost `whole`; those that no choice is
    left for, `fixed`. `kept` holds quantized networks against the float one."""

    names: tuple[str, ...]
    front: Front
    fixed: float
    whole: float
    kept: Kept

    @classmethod
    def of(cls, stage: MixedPrecision, program: Program, context: Context) -> _Scanned:
        inner = dataclasses.replace(context, rules=Rules(_skips(stage, context)))
        noises: dict[tuple[str, str], dict[str, float]] = {}
        for scheme in TRIED:
            how = dataclasses.replace(stage.quantize, scheme=scheme, low_ends=True)
            for layer in scan_quantization(program, inner, how, samples=stage.samples).layers:
                noise = 10 ** (-layer.network_sqnr_db / 10)
                noises.setdefault((layer.layer, layer.type), {})[scheme] = noise
        floats = _float_costs(program, by_macs=stage.bit_macs is not None)
        layers = [
            _choices(context.rules.apply(stage, *layer) or stage, floats[layer[0]], found)
            for layer, found in noises.items()
        ]
        names = tuple(name for name, _ in noises)
        whole = sum(floats.values())
        fixed = whole - sum(floats[name] for name in names)
        return cls(names, Front(layers), fixed, whole, Kept(program, context, stage.samples))


def _choices(stage: MixedPrecision, cost: float, noises: Mapping[str, float]) -> list[Choice]:
    """From float down to the lowest precision of the layer, which costs `cost` in float."""
    found = [Choice(FLOAT, cost, 0.0)]
    for scheme, bits in TRIED.items():
        if found[-1].name != stage.lowest:
            activations = bits.activations / FLOAT_BITS if stage.bit_macs is not None else 1
            found.append(Choice(scheme, cost * bits.weights / FLOAT_BITS * activations, noises[scheme]))
    return found


def _float_costs(program: Program, *, by_macs: bool) -> dict[str, float]:
    """What the weights of each layer cost in float: bytes, or multiply-accumulates times the bits of both factors."""
    graph_module = program.graph_module()
    costs: dict[str, float] = {}
    for node in graph.operators(graph_module):
        weight = graph.constant(graph_module, graph.weight_node(node)) if graph.weight_name(node) else None
        if weight is None:
            continue
        name = graph.layer_name(node)
        if by_macs:
            costs[name] = costs.get(name, 0.0) + (macs.count(node) or 0) * FLOAT_BITS**2
        else:
            costs[name] = weight.numel() * FLOAT_BITS / 8
    return costs


def _number(outcome: Outcome, key: str) -> float:
    value = outcome.results[key]
    assert isinstance(value, float), "put there as one"
    return value


def _skips(stage: MixedPrecision, context: Context) -> tuple[Rule, ...]:
    """The rules that keep layers in float, for every stage."""
    mine = [rule for rule in context.rules.rules if rule.stage in ("", stage.name())]
    return tuple(dataclasses.replace(rule, stage="", options={}) for rule in mine)


def _rule(name: str, choice: Choice) -> Rule:
    layer = glob.escape(name)
    return (
        Rule(layer=layer, skip=True)
        if choice.name == FLOAT
        else Rule(layer=layer, options={"scheme": choice.name})
    )

"""Exceptions for single layers: a layer's name beats its type, its type beats the stage's own options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from edgepress import options
from edgepress.errors import BadOption, UnknownName
from edgepress.history import Value

if TYPE_CHECKING:
    from edgepress.stage import Stage

S = TypeVar("S", bound="Stage")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """For layers whose name matches `layer` (a glob) or whose operator is `type` (conv2d, linear, ...):
    leave them out of the stage (`skip`), or give the stage other `options` there. An empty `stage`
    means every stage."""

    layer: str = ""
    type: str = ""
    stage: str = ""
    skip: bool = False
    options: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.layer) == bool(self.type):
            raise BadOption(
                "A rule names either a layer or a type.",
                where=f"rule {self}",
                hint="{layer: features.0.*, ...} or {type: conv2d, ...}",
            )

    def matches(self, layer: str, type: str) -> bool:
        return fnmatchcase(layer, self.layer) if self.layer else type == self.type


@dataclass(frozen=True)
class Rules:
    """All rules of a recipe, in order; among rules of the same kind the last one wins."""

    rules: tuple[Rule, ...] = ()

    def apply(self, stage: S, layer: str, type: str) -> S | None:
        """The stage's options for one layer; None when the layer is to be skipped."""
        skip = False
        changes: dict[str, Value] = {}
        for rule in sorted(self.rules, key=lambda rule: bool(rule.layer)):
            if rule.stage in ("", stage.name()) and rule.matches(layer, type):
                skip = rule.skip
                changes.update(rule.options)
        if skip:
            return None
        if not changes:
            return stage
        known = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        return options.build(stage.__class__, {**known, **changes}, where=f"rule for {layer}")

    def check(self, stages: Sequence[Stage], layers: Iterable[tuple[str, str]]) -> None:
        """Raise what would keep a rule from having its effect when `stages` run on `layers` (pairs of name and type).

        BadOption when it matches no layer, no stage is ruled by it, or its options do not fit; UnknownName for
        an option that cannot be set for single layers.
        """
        layers = list(layers)
        for rule in self.rules:
            pattern = rule.layer or rule.type
            if not any(rule.matches(*layer) for layer in layers):
                names = ", ".join(name for name, _ in layers[:8])
                raise BadOption(
                    f"The rule for {pattern!r} matches no layer.",
                    where="rules of the recipe",
                    hint=f"edgepress inspect lists the layers: {names}, ...",
                )
            _check_reach(rule, pattern, stages)
        for stage in stages:
            for layer in layers if stage.is_ruled() else ():
                self.apply(stage, *layer)


def _check_reach(rule: Rule, pattern: str, stages: Sequence[Stage]) -> None:
    ruled = [stage for stage in stages if stage.is_ruled() and rule.stage in ("", stage.name())]
    if not ruled:
        raise BadOption(
            f"The rule for {pattern!r} has no effect on any stage of the recipe.",
            where="rules of the recipe",
            hint="rules apply to stages that work layer by layer, such as pruning and quantization, not to training",
        )
    for stage in ruled:
        for key in rule.options:
            if key not in stage.per_layer:
                where = f"rule for {pattern}, stage {stage.name()}"
                raise UnknownName("option of single layers", key, stage.per_layer, where=where)

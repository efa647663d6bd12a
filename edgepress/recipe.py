"""The ordered stages and the per-layer rules: plain YAML, saved beside every result.

stages:
  - prune_channels: {macs: 0.5, criterion: taylor}
  - distill: {teacher: self, epochs: 3}
  - quantize_static: {calibration: percentile}
rules:
  - {layer: "features.0.*", stage: prune_channels, skip: true}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgepress import options, stage
from edgepress.errors import BadInput, BadOption, UnknownName
from edgepress.files import existing_file, write_text
from edgepress.rules import Rule, Rules
from edgepress.stage import Stage

KEYS = ("stages", "rules")


@dataclass(frozen=True)
class Recipe:
    stages: tuple[Stage, ...] = ()
    rules: Rules = Rules()

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        found = existing_file(path, "recipe")
        try:
            content = options.read_yaml(found.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInput(
                f"The recipe is not valid YAML: {_problem(error)}.",
                where=str(found),
                hint="fix the line; edgepress compress ... --save-recipe prints a valid recipe",
            ) from None
        return cls.from_mapping(content or {}, where=str(found))

    @classmethod
    def from_mapping(cls, content: Any, *, where: str = "recipe") -> Recipe:
        if not isinstance(content, Mapping):
            raise BadOption(
                "A recipe is a mapping with the keys 'stages' and 'rules'.",
                where=where,
                hint="edgepress compress ... --save-recipe prints one",
            )
        for key in content:
            if key not in KEYS:
                raise UnknownName("recipe key", str(key), KEYS, where=where)
        stages = tuple(
            _stage(entry, f"{where}, stage {number}")
            for number, entry in enumerate(_listed(content, "stages", where), 1)
        )
        rules = tuple(
            options.build(Rule, entry, where=f"{where}, rule {number}")
            for number, entry in enumerate(_listed(content, "rules", where), 1)
        )
        for rule in rules:
            if rule.stage and rule.stage not in stage.names():
                raise UnknownName("stage", rule.stage, stage.names(), where=where)
        return cls(stages, Rules(rules))

    def to_mapping(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "stages": [{step.name(): options.to_mapping(step, defaults=False)} for step in self.stages]
        }
        if self.rules.rules:
            content["rules"] = [options.to_mapping(rule, defaults=False) for rule in self.rules.rules]
        return content

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True)

    def save(self, path: str | Path) -> None:
        write_text(Path(path), self.to_yaml())


def _problem(error: Exception) -> str:
    """What is wrong, on one line, and in which line of the file."""
    mark = getattr(error, "problem_mark", None)
    told = " ".join(str(getattr(error, "problem", None) or error).split())
    return told if mark is None else f"line {mark.line + 1}: {told}"


def _listed(content: Mapping[str, Any], key: str, where: str) -> list[Any]:
    entries = content.get(key) or []
    if not isinstance(entries, list):
        raise BadOption(
            f"{key!r} takes a list, not {entries!r}.", where=where, hint="one item a line, each after a dash"
        )
    return entries


def _stage(entry: Any, where: str) -> Stage:
    """`distill` or `distill: {epochs: 3}` as its stage."""
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise BadOption("A stage is one name with its options.", where=where, hint="- distill: {epochs: 3}")
    ((name, values),) = entry.items()
    if name not in stage.names():
        raise UnknownName("stage", str(name), stage.names(), where=where)
    return options.build(stage.find(str(name)), values or {}, where=f"{where} ({name})")

"""One frozen dataclass is the Python config, the YAML table and the command-line option at once.

`build` makes the dataclass from a mapping (YAML) or from `key=value,key=value` (command line);
`to_mapping` goes back. Unknown keys and values that do not fit are BadOption or UnknownName.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from edgepress.errors import BadOption, UnknownName
from edgepress.history import Value

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """An instance of the dataclass `cls` from `values`, each converted to its field's type and checked."""
    if not isinstance(values, Mapping):
        raise BadOption(f"Options are written key: value, not {values!r}.", where=where or cls.__name__)
    known = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UnknownName("option", str(key), known, where=where or cls.__name__)
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise BadOption(
            "; ".join(_explain(detail) for detail in error.errors()), where=where or cls.__name__
        ) from None


def parse(text: str, *, where: str = "", shorthand: str = "") -> dict[str, Value]:
    """`"macs=0.5,criterion=taylor"` to a mapping. A part without `=` is the value of `shorthand`."""
    values: dict[str, Value] = {}
    for part in re.split(r",(?![^\[]*\])", text) if text else ():
        key, equals, value = part.partition("=")
        if not equals and not shorthand:
            raise BadOption(f"{part!r} is not of the form key=value.", where=where or text)
        name, raw = (key.strip(), value) if equals else (shorthand, part)
        try:
            values[name] = read_yaml(raw)
        except yaml.YAMLError:
            raise BadOption(f"The value of {name!r} cannot be read: {raw!r}.", where=where or text) from None
    return values


def read_yaml(text: str) -> Any:
    """What the YAML text says; `2:4` is a text, as in YAML 1.2, and not 124, as in the base 60 of YAML 1.1."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  it is a SafeLoader


class _Loader(yaml.SafeLoader):
    """PyYAML's safe one, without integers in base 60."""


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    return str(node.value) if ":" in node.value else loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def to_mapping(options: Any, *, defaults: bool = True) -> dict[str, Value]:
    """The fields as plain JSON values; without `defaults`, only those that differ from their default."""
    plain: dict[str, Value] = TypeAdapter(type(options)).dump_python(options, mode="json")
    if defaults:
        return plain
    return {
        field.name: plain[field.name]
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != _default(field)
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    """What the field holds when nothing is given; MISSING, which equals nothing else, when something must be."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _explain(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"]) or "value"
    if detail["type"] == "missing":
        return f"the option {name!r} is required"
    return f"{name}={detail['input']!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"

"""One frozen dataclass is the Python config, the YAML table and the command-line option at once.

`build` makes the dataclass from a mapping (YAML) or from `key=value,key=value` (command line);
`to_mapping` goes back. Unknown keys and values that do not fit are BadOption or UnknownName.

A field whose default is a dataclass is a group of options: `tune: {epochs: 2}` in YAML, `tune.epochs=2` on the
command line. What is not said of a group stays as the field's default has it.
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
        raise BadOption(
            f"Options are written key: value, not {values!r}.",
            where=where or cls.__name__,
            hint="in a recipe: `- stage: {option: value}`",
        )
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]  # every class of options is a dataclass
    for key in values:
        if key not in known:
            raise UnknownName("option", str(key), known, where=where or cls.__name__)
    given = {key: _grouped(known[key], value, where or cls.__name__) for key, value in values.items()}
    try:
        return TypeAdapter(cls).validate_python(given)
    except ValidationError as error:
        raise BadOption(
            "; ".join(_explain(detail) for detail in error.errors()),
            where=where or cls.__name__,
            hint=_way_out(cls, known),
        ) from None


def _way_out(cls: type, known: Mapping[str, object]) -> str:
    """Where a user finds what the options take: a class that has a command for it says which."""
    described_by = getattr(cls, "described_by", None)
    return described_by() if described_by is not None else f"options: {', '.join(known)}"


def parse(text: str, *, where: str = "", shorthand: str = "") -> dict[str, Value]:
    """`"macs=0.5,tune.epochs=2"` to {"macs": 0.5, "tune": {"epochs": 2}}. A part without `=` is the value of
    `shorthand`."""
    values: dict[str, Value] = {}
    for part in re.split(r",(?![^\[]*\])", text) if text else ():
        key, equals, value = part.partition("=")
        if not equals and not shorthand:
            raise BadOption(
                f"{part!r} is not of the form key=value.",
                where=where or text,
                hint="KEY=VALUE, several with commas: macs=0.5,criterion=taylor",
            )
        name, raw = (key.strip(), value) if equals else (shorthand, part)
        try:
            value = read_yaml(raw)
        except yaml.YAMLError:
            raise BadOption(
                f"The value of {name!r} cannot be read: {raw!r}.",
                where=where or text,
                hint="a number, a word, or YAML as [1,2]",
            ) from None
        *groups, last = name.split(".")
        group = values
        for one in groups:
            inner = group.setdefault(one, {})
            if not isinstance(inner, dict):
                raise BadOption(
                    f"{name!r} is given, and so is {one!r} as a whole.",
                    where=where or text,
                    hint="give one of them",
                )
            group = inner
        if last in group:
            raise BadOption(f"{name!r} is given twice.", where=where or text, hint="give it once")
        group[last] = value
    return values


def read_yaml(text: str) -> Any:
    """What the YAML text says; `2:4` is a text, as in YAML 1.2, and not 124, as in the base 60 of YAML 1.1."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  it is a SafeLoader


class _Loader(yaml.SafeLoader):
    """PyYAML's safe one, without integers in base 60, and without a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        given = list[Any]()
        for key, _ in node.value:
            if key.value in given:
                problem = f"{key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            given.append(key.value)
        return super().construct_mapping(node, deep)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    return str(node.value) if ":" in node.value else loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def to_mapping(options: Any, *, defaults: bool = True) -> dict[str, Value]:
    """The fields as plain JSON values; without `defaults`, only those that differ from their default."""
    plain: dict[str, Value] = TypeAdapter(type(options)).dump_python(options, mode="json")
    if defaults:
        return plain
    return _departures(options, plain, {field.name: _default(field) for field in dataclasses.fields(options)})


def _departures(options: Any, plain: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Value]:
    """What of `plain`, the fields of `options`, is not as `standard` has it."""
    found = {}
    for name, default in standard.items():
        value = getattr(options, name)
        if value != default:
            is_group = _is_group(default)
            found[name] = _departures(value, plain[name], vars(default)) if is_group else plain[name]
    return found


def _grouped(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """`value` for a group of options as an instance, checked; any other value as it is."""
    default = _default(field)
    if not _is_group(default):
        return value
    given = vars(value) if type(value) is type(default) else value
    if not isinstance(given, Mapping):
        raise BadOption(
            f"{field.name!r} is a group of options, not {value!r}.",
            where=where,
            hint=f"{field.name}.{dataclasses.fields(default)[0].name}=...",
        )
    return build(type(default), {**vars(default), **given}, where=f"{where}, {field.name}")


def _is_group(default: object) -> bool:
    return dataclasses.is_dataclass(default) and not isinstance(default, type)


def _default(field: dataclasses.Field[Any]) -> Any:
    """What the field holds when nothing is given; MISSING, which equals nothing else, when something must be."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _explain(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"]) or "value"
    if detail["type"] == "missing":
        return f"the option {name!r} is required"
    return f"{name}={detail['input']!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"

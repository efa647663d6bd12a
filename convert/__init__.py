"""From a Program to files that runtimes load: one file an edge, `<from>_to_<to>.py`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from edgepress import options as option_values
from edgepress import plugins
from edgepress.artifact import Artifact
from edgepress.backend_fit import refuse_unfit
from edgepress.convert._converter import Converter
from edgepress.convert._reader import Reader
from edgepress.convert._unsupported import UnsupportedOperator, refusals
from edgepress.errors import BackendMissing, EdgepressError, UnknownName, Unsupported
from edgepress.files import existing_file, replacing
from edgepress.history import CONVERTS, Step, Value
from edgepress.preprocess import Preprocess
from edgepress.program import Program, tool_versions

__all__ = [
    "Converter",
    "Reader",
    "UnsupportedOperator",
    "check",
    "check_all",
    "find",
    "foresees",
    "formats",
    "read",
    "readable",
    "reader",
    "refusals",
    "refused",
    "route",
    "to",
    "unsupported",
]

READER = f"{CONVERTS}program"


def edges() -> dict[tuple[str, str], str]:
    """(from, to) of every edge, and the file it is in."""
    names = (name for name in plugins.names(__name__) if CONVERTS in name and not name.endswith(READER))
    return {(source, target): name for name in names for source, target in [name.split(CONVERTS)]}


def readable() -> tuple[str, ...]:
    """Every format that `read` takes: the word before `_to_program`."""
    return tuple(name.removesuffix(READER) for name in plugins.names(__name__) if name.endswith(READER))


def reader(format: str) -> type[Reader]:
    """The Reader of a format; UnknownName otherwise."""
    if format not in readable():
        raise UnknownName("format to read", format, readable())
    found: type[Reader] = plugins.only_class(
        plugins.load(__name__, f"{format}{READER}", kind="reader"), Reader
    )
    return found


def read(
    path: Path, options: Mapping[str, Value] | None = None, preprocess: Preprocess | None = None
) -> Program:
    """A network that another framework wrote, by the file's suffix, as a Program to compress and convert.

    Raises BadInput for what is no such file, UnsupportedModel for what cannot be read or captured.
    """
    found = existing_file(path, "network")
    kind = reader(found.suffix.removeprefix("."))
    kind.require()
    return option_values.build(kind, options or {}, where=str(path)).read(found, preprocess)


def formats() -> tuple[str, ...]:
    """Every format that can be written."""
    return tuple(sorted({end for _, end in edges()}))


def find(start: str, end: str) -> type[Converter[Any]]:
    module = plugins.load(__name__, f"{start}{CONVERTS}{end}", kind="conversion")
    found: type[Converter[Any]] = plugins.only_class(module, Converter)
    return found


def route(format: str) -> tuple[tuple[str, str], ...]:
    """The fewest edges from `program` to `format`; UnknownName when there is no way."""
    reached: dict[str, tuple[tuple[str, str], ...]] = {"program": ()}
    frontier = ["program"]
    while frontier and format not in reached:
        start = frontier.pop(0)
        for edge in sorted(edges()):
            if edge[0] == start and edge[1] not in reached:
                reached[edge[1]] = (*reached[start], edge)
                frontier.append(edge[1])
    if format not in reached or format == "program":
        raise UnknownName("format", format, formats(), where=f"--to {format}")
    return reached[format]


def to(program: Program, format: str, path: Path, options: Mapping[str, Value] | None = None) -> Artifact:
    """Convert `program` to `format` at `path`, with its manifest beside it. The `options` are the last edge's; what
    lies between is made once for all formats behind it, and kept as long as the program is.

    Raises UnsupportedModel before any work for what the format lacks, BackendMissing for a package.
    """
    refuse_unfit(program.quantized, format)
    *before, last = _converters(format, options)
    return _convert(last, _on_the_way(program, before), path.with_suffix(f".{format}"))


def check(
    program: Program, format: str, options: Mapping[str, Value] | None = None, *, here: bool = True
) -> None:
    """Raise what `to` would raise before it writes the file; a network's operators are all named.

    here: whether this machine will write it. If not, only what is needed to ask must be installed.
    """
    for converter, source in _asked(program, format, options, here):
        converter.check(source)


def check_all(
    program: Program,
    wanted: Mapping[str, Mapping[str, Value] | None] | Iterable[str],
    *,
    here: bool = True,
) -> None:
    """`check` for each of the formats (with options, or without); what several of them lack is told at once."""
    if found := refused(program, wanted, here=here):
        raise refusals(found)


def refused(
    program: Program,
    wanted: Mapping[str, Mapping[str, Value] | None] | Iterable[str],
    *,
    here: bool = True,
) -> dict[str, EdgepressError]:
    """What `check` raises of those formats that cannot be written of this network, or not on this machine."""
    options = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    found: dict[str, EdgepressError] = {}
    for format, given in options.items():
        try:
            check(program, format, given, here=here)
        except (Unsupported, BackendMissing) as error:
            found[format] = error
    return found


def unsupported(
    program: Program, format: str, options: Mapping[str, Value] | None = None
) -> Sequence[UnsupportedOperator]:
    """Every operator of `program` that `format` cannot express, as far as its converters foresee.

    Raises UnsupportedModel for what is not the matter of single operators, BackendMissing for what it takes to ask.
    """
    for converter, source in _asked(program, format, options, here=False):
        if found := converter.unsupported(source):
            return found
    return ()


def foresees(format: str) -> bool:
    """Whether the last edge to `format` knows before it writes what it cannot express; others learn it by trying."""
    return find(*route(format)[-1]).unsupported is not Converter.unsupported


def _asked(
    program: Program, format: str, options: Mapping[str, Value] | None, here: bool
) -> Iterator[tuple[Converter[Any], Program | Artifact]]:
    """The edges on the way to `format`, each with what it starts from, as far as there are edges that ask anything."""
    refuse_unfit(program.quantized, format)
    converters = _converters(format, options)
    for converter in converters:
        converter.require() if here else converter.require_to_ask()
    last = max((place for place, converter in enumerate(converters) if converter.asks()), default=-1)
    for place, converter in enumerate(converters[: last + 1]):
        yield converter, _on_the_way(program, converters[:place])


@dataclass(frozen=True)
class _Kept:
    """A file on the way to another, and its folder, which goes with this: not beside the user's files, whose names it
    would take."""

    artifact: Artifact
    folder: tempfile.TemporaryDirectory[str]


_kept: WeakKeyDictionary[Program, dict[tuple[Converter[Any], ...], _Kept]] = WeakKeyDictionary()


def _on_the_way(program: Program, edges: Sequence[Converter[Any]]) -> Program | Artifact:
    """What the edges make of the program, one after the other."""
    if not edges:
        return program
    kept = _kept.setdefault(program, {})
    if (way := tuple(edges)) not in kept:
        source = _on_the_way(program, edges[:-1])
        folder = tempfile.TemporaryDirectory(prefix="edgepress-")
        path = Path(folder.name, f"model.{edges[-1].edge()[1]}")
        kept[way] = _Kept(_convert(edges[-1], source, path), folder)
    return kept[way].artifact


def _converters(format: str, options: Mapping[str, Value] | None) -> list[Converter[Any]]:
    """The converters on the way to `format`; the options are the last one's."""
    *before, last = route(format)
    ready = [find(*edge).on_the_way() for edge in before]
    return [*ready, option_values.build(find(*last), options or {}, where=f"--to {format}")]


def _convert(converter: Converter[Any], source: Program | Artifact, path: Path) -> Artifact:
    converter.require()
    converter.check(source)
    with replacing(path) as temporary:
        manifest = converter.write(source, temporary)
    made = Step(CONVERTS.join(converter.edge()), option_values.to_mapping(converter))
    origin = source if isinstance(source, Program) else source.manifest
    history = origin.history.then(made)
    tools = tool_versions("torch") | dict(manifest.tools)
    return Artifact.describe(
        path, dataclasses.replace(manifest, reading=origin.reading, history=history, tools=tools)
    )

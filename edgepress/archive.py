"""Saving a `.pt2` that is only data, and loading one without ever running what somebody put into it.

`torch.export.load` trusts its file. It unpickles sample inputs and whatever the tables of weights and
constants mark as pickled, evaluates shape expressions, pastes names into Python source, imports the
modules that tree specifications name, compiles guards, and loads machine code that lies in the archive. So
nothing of a file reaches it unchecked: `load` reads the members itself, holds every one against the
grammars of edgepress._archive_grammar, and hands PyTorch a new archive made from what was checked.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE
from torch.export import ExportedProgram
from torch.export.pt2_archive._package import load_pt2

from edgepress import _archive_grammar as grammar
from edgepress._archive_zip import read_members, refusal, write_members
from edgepress._json_grammar import Check, Refused
from edgepress.coding.file import CODED_FORMAT, decode, encode
from edgepress.coding.streams import CODERS, Coder
from edgepress.errors import UnsupportedModel

PROGRAM = "models/model.json"
WEIGHTS, WEIGHT_TABLE = "data/weights/", "data/weights/model_weights_config.json"
CONSTANTS, CONSTANT_TABLE = "data/constants/", "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
EXTRA = "extra/"
FIXED = {
    "archive_format": b"pt2",
    "archive_version": b"0",
    "byteorder": b"little",
    ".data/version": b"6\n",
    SAMPLE_INPUTS: b"",
}
"""Members that always say the same. PyTorch asks for sample inputs, and takes none for an answer."""

MOST_JSON_BYTES = 64 << 20
DROPPED_METADATA = ("source_fn_stack", "from_node", "custom")


def save(exported: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write `exported` and the texts of `metadata`: what `load` takes, and the same bytes for the same network.

    Raises UnsupportedModel for a network that holds what `load` would refuse, as an operator of the user's own.
    """
    path.write_bytes(write_members(members(exported, path.name, metadata)))


def save_coded(
    exported: ExportedProgram, path: Path, metadata: Mapping[str, str], coders: Sequence[Coder] = CODERS
) -> None:
    """As `save`, with all that a `.pt2` holds in far fewer bytes (see edgepress.coding)."""
    held = members(exported, path.name, metadata)
    path.write_bytes(encode(held, _widths(held), coders))


def members(exported: ExportedProgram, name: str, metadata: Mapping[str, str]) -> dict[str, bytes]:
    """What a `.pt2` of the network holds. `name` is the file's, for the error that says why it cannot be saved."""
    buffer = io.BytesIO()
    try:
        torch.export.save(exported, buffer, extra_files=dict(metadata))
    except Exception as error:  # the serializer's asserts and type errors alike
        raise UnsupportedModel(
            f"PyTorch cannot save this network: {error}",
            where=name,
            hint="PyTorch's message says what; report it with the network if it is a plain one",
        ) from error
    raw = _raw_members(buffer)
    try:
        return _rebuilt({**raw, PROGRAM: _scrubbed(raw[PROGRAM]), **FIXED})
    except Refused as error:
        raise UnsupportedModel(
            f"A network with {error} cannot be saved.",
            where=name,
            hint="edgepress takes networks of PyTorch's own operators, on the CPU",
        ) from None


def load(path: Path) -> ExportedProgram:
    """The network in the file. Raises BadInput, and runs nothing, when the file holds anything but a network."""
    members = decode(path) if path.suffix == f".{CODED_FORMAT}" else read_members(path)
    try:
        content = write_members(_rebuilt(members))
    except Refused as error:
        raise refusal(path, f"it holds {error}") from None
    try:
        return load_pt2(io.BytesIO(content)).exported_programs["model"]
    except Exception as error:  # well-formed, but contradicting itself: PyTorch finds that in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise refusal(path, f"PyTorch cannot make a network of it ({reason})") from None


def _rebuilt(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same members, each checked, the JSON written anew so that PyTorch reads what was checked."""
    for name, content in members.items():
        if name in FIXED and content != FIXED[name]:
            raise Refused(f"unexpected content ({len(content)} bytes)", name)
    rebuilt = {
        **FIXED,
        PROGRAM: _checked_json(members, PROGRAM, grammar.PROGRAM),
        **_checked_tensors(members, WEIGHTS, WEIGHT_TABLE, "weight_"),
        **_checked_tensors(members, CONSTANTS, CONSTANT_TABLE, "tensor_"),
        **{name: content for name, content in members.items() if name.startswith(EXTRA)},
    }
    for name in members:
        if name not in rebuilt:
            raise Refused("a member that no network has", name)
    return rebuilt


def _checked_json(members: Mapping[str, bytes], name: str, check: Check) -> bytes:
    value = _decoded(members, name)
    check(value, name)
    return json.dumps(value).encode()


def _checked_tensors(members: Mapping[str, bytes], folder: str, table: str, prefix: str) -> dict[str, bytes]:
    """The table of stored tensors and the members it speaks of, each large enough for its tensor."""
    found = {table: _checked_json(members, table, grammar.tensors(prefix))}
    for name, stored in _decoded(members, table)["config"].items():
        member, meta = folder + stored["path_name"], stored["tensor_meta"]
        if member not in members:
            raise Refused(f"the tensor {name!r} without its member", member)
        if _size_bytes(meta) > len(members[member]):
            raise Refused(f"the tensor {name!r}, larger than its member", member)
        found[member] = members[member]
    return found


def _widths(members: Mapping[str, bytes]) -> dict[str, int]:
    """The bytes of one element, for every member that is a tensor."""
    return {
        folder + stored["path_name"]: _size_bytes({**stored["tensor_meta"], "sizes": []})
        for folder, table in ((WEIGHTS, WEIGHT_TABLE), (CONSTANTS, CONSTANT_TABLE))
        for stored in _decoded(members, table)["config"].values()
    }


def _size_bytes(meta: dict[str, Any]) -> int:
    kind = _SERIALIZE_TO_TORCH_DTYPE.get(meta["dtype"])
    if kind is None:
        raise Refused(f"the data type {meta['dtype']}", "a tensor")
    count = math.prod(int(size["as_int"]) for size in meta["sizes"])
    return count * int(kind.itemsize)


def _decoded(members: Mapping[str, bytes], name: str) -> Any:
    content = members.get(name)
    if content is None or len(content) > MOST_JSON_BYTES:
        raise Refused("nothing" if content is None else f"{len(content)} bytes, too many", name)
    try:
        return json.loads(content, parse_constant=_refused_constant)
    except Refused:
        raise
    except (ValueError, RecursionError) as error:
        raise Refused(f"no JSON ({error})", name) from None


def _refused_constant(word: str) -> None:
    raise Refused(f"the word {word}", "a number's place")


def _raw_members(buffer: io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(buffer) as archive:
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist() if "/.data/" not in name
        }


def _scrubbed(program: bytes) -> bytes:
    """Without what only PyTorch's own debugging reads, and without guards: `Signature` checks inputs."""
    content = json.loads(program)
    content["guards_code"] = []
    content["graph_module"]["metadata"] = {}
    for node in content["graph_module"]["graph"]["nodes"]:
        for key in DROPPED_METADATA:
            node["metadata"].pop(key, None)
    return json.dumps(content).encode()

"""Hostile `.pt2` files for tests: a good file with one thing changed, so that loading it touches a marker file."""

from __future__ import annotations

import functools
import io
import json
import pickle
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgepress._archive_zip import write_members
from edgepress.program import Program

Members = dict[str, bytes]
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return self.fc(y.reshape(x.shape[0], 4, 36).mean(2))


def good(folder: Path) -> Path:
    path = folder / "good.pt2"
    path.write_bytes(_good())
    return path


@functools.cache
def _good() -> bytes:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        program = Program.capture(Small(), (torch.zeros(2, 3, 8, 8),))
        return program.save(Path(folder) / "good.pt2").path.read_bytes()


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def edit(name: str, change: Callable[[Any], None]) -> Callable[[Members], None]:
    """A change of the JSON in the member `name`."""

    def apply(content: Members) -> None:
        value = json.loads(content[name])
        change(value)
        content[name] = json.dumps(value).encode()

    return apply


def write(path: Path, content: Members) -> Path:
    path.write_bytes(write_members(content))
    return path


def node(program: Any, operator: str) -> Any:
    nodes = program["graph_module"]["graph"]["nodes"]
    return next(one for one in nodes if one["target"].startswith(f"torch.ops.aten.{operator}."))


class Payload:
    """Touches the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.marker)!r}, 'w')",)


def pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(({"x": Payload(marker)},), buffer)
    return buffer.getvalue()


def touching(marker: Path) -> str:
    """Python that touches the marker and is true."""
    return f"[open({str(marker)!r}, 'w')]"


def _renamed_input(marker: Path) -> Callable[[Any], None]:
    """The input `x` becomes `x=<code>`: PyTorch pastes it into the head of a function."""

    def change(program: Any) -> None:
        text = json.dumps(program).replace('"name": "x"', json.dumps({"name": f"x={touching(marker)}"})[1:-1])
        value = json.loads(text)
        meta = value["graph_module"]["graph"]["tensor_values"]
        meta[f"x={touching(marker)}"] = meta.pop("x")
        program.clear()
        program.update(value)

    return change


def _shape(expression: str) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        x = program["graph_module"]["graph"]["tensor_values"]["x"]
        x["sizes"][0]["as_expr"]["expr_str"] = expression

    return change


def _operator(target: str, *arguments: Any) -> Callable[[Any], None]:
    """One more node in front, which calls `target`."""

    def change(program: Any) -> None:
        inputs = [{"name": name, "arg": {kind: value}, "kind": 1} for name, kind, value in arguments]
        outputs = [{"as_tensor": {"name": "more"}}]
        program["graph_module"]["graph"]["nodes"].insert(
            0, {"target": target, "inputs": inputs, "outputs": outputs, "metadata": {}, "name": "more"}
        )
        meta = program["graph_module"]["graph"]["tensor_values"]
        meta["more"] = meta["p_fc_bias"]

    return change


def _call_signature(**changes: Any) -> Callable[[Any], None]:
    return lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(changes)


def _tree(kind: str, context: Any) -> str:
    leaf = {"type": None, "context": None, "children_spec": []}
    return json.dumps([1, {"type": kind, "context": context, "children_spec": [leaf]}])


def _weight_as_pickle(content: Members, marker: Path) -> None:
    edit(WEIGHTS, lambda table: table["config"]["fc.bias"].update(use_pickle=True))(content)
    table = json.loads(content[WEIGHTS])["config"]
    content[f"data/weights/{table['fc.bias']['path_name']}"] = pickled(marker)


def _constant(content: Members, member: str, payload: bytes) -> None:
    entry = {"path_name": member, "is_param": False, "use_pickle": True, "tensor_meta": None}
    edit(CONSTANTS, lambda table: table["config"].update(c=entry))(content)
    content[f"data/constants/{member}"] = payload


def _injected_weight_name(content: Members, marker: Path) -> None:
    """A dotted name with a digit in front is fetched by `getattr(self, "...")`, the name pasted in."""
    name = f'0", {touching(marker)}) or ("'.replace(".", "\\x2e")
    edit(WEIGHTS, lambda table: table["config"].update({name: table["config"].pop("fc.bias")}))(content)

    def change(program: Any) -> None:
        for spec in program["graph_module"]["signature"]["input_specs"]:
            if spec.get("parameter", {}).get("parameter_name") == "fc.bias":
                spec["parameter"]["parameter_name"] = name

    edit(PROGRAM, change)(content)


def _machine_code(content: Members, marker: Path) -> None:
    """A library that touches the marker when it is linked."""
    source, library = marker.with_suffix(".c"), marker.with_suffix(".so")
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void start(void) "
        f'{{ fclose(fopen("{marker}", "w")); }}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    content["data/aotinductor/model/a.wrapper.so"] = library.read_bytes()
    content["data/aotinductor/model/a.wrapper_metadata.json"] = b'{"AOTI_DEVICE_KEY": "cpu"}'


def _guard(content: Members, marker: Path) -> None:
    """Guards are compiled when the module is made, given sample inputs."""
    edit(PROGRAM, lambda program: program.update(guards_code=[touching(marker)]))(content)
    buffer = io.BytesIO()
    torch.save(((torch.zeros(2, 3, 8, 8),), {}), buffer)
    content[SAMPLE_INPUTS] = buffer.getvalue()


def _set(content: Members, name: str, payload: bytes) -> None:
    content[name] = payload


ATTACKS: dict[str, Callable[[Members, Path], None]] = {
    "pickled sample inputs": lambda c, m: _set(c, SAMPLE_INPUTS, pickled(m)),
    "weight marked as pickled": _weight_as_pickle,
    "weights of the old format": lambda c, m: _set(c, "data/weights/model.pt", pickled(m)),
    "constant marked as pickled": lambda c, m: _constant(c, "tensor_0", pickled(m)),
    "constants of the old format": lambda c, m: _set(c, "data/constants/model.pt", pickled(m)),
    "opaque constant": lambda c, m: _constant(c, "opaque_obj_0", pickle.dumps(Payload(m))),
    "shape that is code": lambda c, m: edit(PROGRAM, _shape(touching(m)))(c),
    "input name that is code": lambda c, m: edit(PROGRAM, _renamed_input(m))(c),
    "weight name that is code": _injected_weight_name,
    "guard that is code": _guard,
    "tree that imports by an enumeration": lambda c, m: edit(
        PROGRAM,
        _call_signature(
            out_spec=_tree(
                "builtins.dict", json.dumps([{"__enum__": True, "fqn": "edgepress_evil:Evil", "name": "A"}])
            )
        ),
    )(c),
    "tree that imports by a defaultdict": lambda c, m: edit(
        PROGRAM,
        _call_signature(
            out_spec=_tree(
                "collections.defaultdict",
                {
                    "default_factory_module": "edgepress_evil",
                    "default_factory_name": "Evil",
                    "dict_context": ["a"],
                },
            )
        ),
    )(c),
    "operator that maps a file": lambda c, m: edit(
        PROGRAM,
        _operator(
            "torch.ops.aten.from_file.default",
            ("filename", "as_string", str(m)),
            ("shared", "as_bool", True),
            ("size", "as_int", 2),
        ),
    )(c),
    "machine code": _machine_code,
}
"""What it is, and the change that makes it, given the members and the marker."""

SUSPECTS: dict[str, Callable[[Members, Path], None]] = {
    "operator that is a shell": lambda c, m: edit(
        PROGRAM,
        lambda p: (_operator("torch.os.system", ("", "as_string", f"touch {m}"))(p), p.update(verifiers=[])),
    )(c),
    "operator that saves a file": lambda c, m: edit(
        PROGRAM,
        _operator(
            "torch.ops.aten.save.default",
            ("item", "as_tensor", {"name": "x"}),
            ("filename", "as_string", str(m)),
        ),
    )(c),
    "operator of another library": lambda c, m: edit(
        PROGRAM, _operator("torch.ops.mkldnn._linear_pointwise.default", ("", "as_tensor", {"name": "x"}))
    )(c),
    "operator as an argument": lambda c, m: edit(
        PROGRAM, lambda p: node(p, "relu")["inputs"][0].update(arg={"as_operator": "torch.os.system"})
    )(c),
    "graph as an argument": lambda c, m: edit(
        PROGRAM,
        lambda p: node(p, "relu")["inputs"][0].update(
            arg={"as_graph": {"name": "g", "graph": {**p["graph_module"]["graph"], "nodes": []}}}
        ),
    )(c),
    "argument name that is code": lambda c, m: edit(
        PROGRAM, _call_signature(forward_arg_names=[f"x={touching(m)}"])
    )(c),
    "keyword that is code": lambda c, m: edit(
        PROGRAM, lambda p: node(p, "relu")["inputs"][0].update(name=f"x={touching(m)}")
    )(c),
    "guard alone": lambda c, m: edit(PROGRAM, lambda p: p.update(guards_code=[touching(m)]))(c),
    "no verifier": lambda c, m: edit(PROGRAM, lambda p: p.update(verifiers=[]))(c),
    "names resolved for debugging": lambda c, m: edit(
        PROGRAM, lambda p: node(p, "relu")["metadata"].update(source_fn_stack="relu,torch.os.system")
    )(c),
    "private attribute as a weight": lambda c, m: edit(
        WEIGHTS, lambda t: t["config"].update({"fc.__class__.bias": t["config"]["fc.bias"]})
    )(c),
    "power too large to hold": lambda c, m: edit(
        PROGRAM, _shape("Pow(Integer(10), Pow(Integer(10), Integer(10)))")
    )(c),
    "symbols without end": lambda c, m: edit(
        PROGRAM, lambda p: p["range_constraints"].update(u99999999999={"min_val": 0, "max_val": 1})
    )(c),
    "tensor larger than its member": lambda c, m: edit(
        WEIGHTS,
        lambda t: t["config"]["fc.bias"]["tensor_meta"].update(
            sizes=[{"as_int": 2**40}], strides=[{"as_int": 0}]
        ),
    )(c),
    "tensor outside of its member": lambda c, m: edit(
        WEIGHTS, lambda t: t["config"]["fc.bias"]["tensor_meta"].update(storage_offset={"as_int": 2**40})
    )(c),
    "another device": lambda c, m: edit(
        WEIGHTS,
        lambda t: t["config"]["fc.bias"]["tensor_meta"].update(device={"type": "meta", "index": None}),
    )(c),
    "nested without end": lambda c, m: _set(c, PROGRAM, b"[" * 200_000),
    "no JSON": lambda c, m: _set(c, PROGRAM, b"\xff\x00"),
    "unknown member": lambda c, m: _set(c, "data/executorch/run.pte", b"x"),
    "no weights": lambda c, m: _set(c, WEIGHTS, b'{"config": {}}'),
}
"""As above; PyTorch may stumble over these by itself, or not run them, but none is a network."""

EVIL_MODULE = "import enum\nopen({marker!r}, 'w')\nclass Evil(str, enum.Enum):\n    A = 'a'\n"

"""Operators that TFLite does not have are spelt out in those that it has, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch._decomp import get_decompositions
from torch.fx import GraphModule, Node, map_arg
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree

from edgepress.convert._tflite.simplify import (
    IDENTITIES,
    drop_identities,
    drop_unread,
    fold_constants,
)
from edgepress.graph import arguments, at_batch, operators, set_constant

Target = Callable[..., Any]
Known = Set[Target]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Spelling:
    """`function` computes the same as an operator, from its arguments in the order of its schema; `fits` says, of the
    arguments by name, whether it is for this use."""

    function: Callable[..., Any]
    fits: Callable[[Mapping[str, Any]], bool]


WITHIN = "within_an_operator"
"""In the `meta` of a node: that it is one of the pieces on the way to what the user's operator gives."""

SPELLINGS: dict[Target, Spelling] = {}


def spells(
    *targets: Target, fits: Callable[[Mapping[str, Any]], bool] = lambda arguments: True
) -> Callable[[Function], Function]:
    """Enter a function of PyTorch as the spelling of the ATen operators `targets`."""

    def enter(function: Function) -> Function:
        SPELLINGS.update(dict.fromkeys(targets, Spelling(function, fits)))
        return function

    return enter


def spell_out(graph_module: GraphModule, batch: int, known: Known) -> GraphModule:
    """The same graph module with operators outside of `known` spelt out in known ones: as we say, else as PyTorch itself
    takes them apart. What neither brings about stays as it is."""
    waiting = [node for node in operators(graph_module) if _is_asked(node, known)]
    if not waiting:
        return graph_module
    while waiting:
        node = waiting.pop()
        pieces = _pieces(node, batch, known)
        if pieces is not None:
            waiting += [made for made in _put_in_place(graph_module, node, pieces) if _is_asked(made, known)]
    drop_unread(graph_module)
    drop_identities(graph_module)
    fold_constants(graph_module, batch)
    drop_unread(graph_module)
    return graph_module


def _is_asked(node: Node, known: Known) -> bool:
    """Whether the node gives tensors and is unknown, or used in a way for which there is a spelling."""
    if not isinstance(node.meta["val"], (torch.Tensor, list, tuple)):
        return False
    return node.target not in known or _spelling(node) is not None


def _spelling(node: Node) -> Spelling | None:
    found = SPELLINGS.get(node.target)  # type: ignore[arg-type]  # not in the table: no spelling
    return found if found is not None and found.fits(arguments(node)) else None


def _pieces(node: Node, batch: int, known: Known) -> GraphModule | None:
    """The operator as a graph over its tensors, of known operators and of such as have a spelling; None where there is none."""
    spelling = _spelling(node)
    try:
        return _spelt(node, batch, spelling) if spelling is not None else _taken_apart(node, batch, known)
    except Exception:  # whatever an operator raises: of no entries, or of what PyTorch cannot look into
        return None


def _spelt(node: Node, batch: int, spelling: Spelling) -> GraphModule:
    by_name = arguments(node)
    values = [by_name[argument.name] for argument in node.target._schema.arguments]  # type: ignore[union-attr]  # an operator has a schema
    return _traced(node, batch, lambda found: spelling.function(*found(values)), {}, before=True)


def _taken_apart(node: Node, batch: int, known: Known) -> GraphModule | None:
    """As PyTorch does it, where that gives operators that can be written."""
    table = get_decompositions([node.target])  # type: ignore[list-item]  # the target of an operator is one
    target: Any = node.target

    def apart(found: Callable[[Any], Any]) -> Any:
        args, kwargs = found((node.args, node.kwargs))
        return target(*args, **kwargs)

    pieces = _traced(node, batch, apart, table, before=False)
    allowed = known | SPELLINGS.keys() | IDENTITIES
    moving = _moving(pieces)
    is_written = all(piece.target in allowed and piece.target is not target for piece in moving)
    return pieces if is_written else None


def _moving(pieces: GraphModule) -> list[Node]:
    """The operators that depend on what comes in: the others are constants."""
    found = {node: None for node in pieces.graph.nodes if node.op == "placeholder"}
    for piece in operators(pieces):
        if not found.keys().isdisjoint(piece.all_input_nodes):
            found[piece] = None
    return [node for node in found if node.op == "call_function"]


def _traced(
    node: Node, batch: int, run: Callable[[Callable[[Any], Any]], Any], table: Any, *, before: bool
) -> GraphModule:
    """The operators that `run` calls, given a function that puts values into the node's arguments. `before`: as a
    capture has them, before PyTorch takes any apart."""
    sources = _tensors(node)

    def call(*tensors: torch.Tensor) -> Any:
        given = dict(zip(sources, tensors, strict=True))
        return run(
            lambda values: map_arg(
                values, lambda item: given[item] if item in given else at_batch(item, batch)
            )
        )

    examples = [
        torch.empty(
            [at_batch(size, batch) for size in source.meta["val"].shape], dtype=source.meta["val"].dtype
        )
        for source in sources
    ]
    with torch.no_grad():
        return make_fx(call, decomposition_table=table, tracing_mode="fake", pre_dispatch=before)(*examples)


def _put_in_place(graph_module: GraphModule, node: Node, pieces: GraphModule) -> list[Node]:
    """Let the pieces stand for the node, under its name; returns those that depend on what it read."""
    standing: dict[Node, Node] = {}
    sources = iter(_tensors(node))
    for piece in pieces.graph.nodes:
        if piece.op == "placeholder":
            standing[piece] = next(sources)
        elif piece.op == "output":
            results = _pytree.tree_map_only(Node, standing.__getitem__, piece.args[0])
            if WITHIN not in node.meta:
                for own in _pytree.tree_leaves(results):
                    own.meta.pop(WITHIN, None)
            _hand_over(node, results)
        else:
            with graph_module.graph.inserting_before(node):
                copied = graph_module.graph.node_copy(piece, standing.__getitem__)
            if piece.op == "get_attr":
                copied.target = f"{node.name}_{piece.target}"
                set_constant(graph_module, copied.target, getattr(pieces, str(piece.target)))
            copied.meta = {**node.meta, "val": piece.meta.get("val"), WITHIN: True}
            standing[piece] = copied
    return [standing[piece] for piece in _moving(pieces)]


def _hand_over(node: Node, results: Any) -> None:
    """Let who reads the node, or parts of its list, read the results."""
    if isinstance(results, Node):
        node.replace_all_uses_with(results)
        return
    for user in list(node.users):
        user.replace_all_uses_with(results[user.args[1]])


def _tensors(node: Node) -> list[Node]:
    return [source for source in node.all_input_nodes if isinstance(source.meta["val"], torch.Tensor)]

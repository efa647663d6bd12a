"""Which expressions, names, trees and operators a `.pt2` may hold."""

from __future__ import annotations

import json

import pytest
import sympy
import torch
from torch.utils._sympy.functions import FloorDiv

from edgepress import _archive_grammar as grammar
from edgepress._archive_operators import operator
from edgepress._json_grammar import Refused

SYMBOL = sympy.Symbol("s77", positive=True, integer=True)
SHAPES = [
    SYMBOL,
    2 * SYMBOL,
    -SYMBOL + 3,
    SYMBOL**2,
    sympy.Max(1, SYMBOL),
    sympy.Mod(SYMBOL, 4),
    sympy.Eq(SYMBOL, 3),
    FloorDiv(7 * SYMBOL, 2),
    sympy.Integer(-4),
    SYMBOL < 8,
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_sympy_prints_of_a_shape_is_taken(shape: sympy.Basic) -> None:
    grammar.expression(sympy.srepr(shape), "here")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "Symbol('s0').__class__",
        "Symbol('x0; import os')",
        "Symbol(name='s0')",
        "Symbol('s0', integer=print())",
        "Symbol('s0', **{})",
        "Add(*[1])",
        "Integer(open('x'))",
        "Integer(1)if 1 else 2",
        "Add(Integer(1)#\n,Integer(2))",
        "Pow(Integer(9), Integer(9))",
        "Pow(Symbol('s0'), Integer(99))",
        "Pow(Symbol('s0'), Symbol('s1'))",
        "Pow(Symbol('s0'), Max(2, 1000000000))",
        "Lambda(Symbol('s0'), Integer(1))",
        "(" * 300,
        "-" * 900 + "1",
        "Add(" * 200 + "1" + ")" * 200,
        "1" * 2000,
        "",
        "s0",
        "1.5",
        "lambda: 1",
        "[1]",
        "'a'",
        None,
        7,
    ],
)
def test_any_other_expression_is_refused(text: object) -> None:
    with pytest.raises(Refused, match="the expression"):
        grammar.expression(text, "here")


@pytest.mark.parametrize(
    "name", ["features.0.weight", "a-b.c/d:e", "卷积.weight", "block__1.x", "_orig_mod.weight"]
)
def test_weight_names_of_real_networks(name: str) -> None:
    grammar.DOTTED_NAME(name, "here")


@pytest.mark.parametrize(
    "name", ["", "a..b", 'a"b', "a\\b", "a\nb", "__class__.x", "x.__dict__", "a.__init__.b", "a{b}"]
)
def test_weight_names_that_could_be_code(name: str) -> None:
    with pytest.raises(Refused):
        grammar.DOTTED_NAME(name, "here")


@pytest.mark.parametrize("name", ["x=1", "x y", "lambda", "1x", "x\n", "é", "x,", "", "x" * 1001])
def test_node_names_are_plain_identifiers(name: str) -> None:
    with pytest.raises(Refused):
        grammar.NAME(name, "here")


def test_trees_of_real_outputs() -> None:
    for value in ((1, [2, 3]), {"logits": 1, "boxes": (2, 3)}, 1, []):
        _, spec = torch.utils._pytree.tree_flatten(value)
        grammar.tree(grammar.NAME)(torch.utils._pytree.treespec_dumps(spec), "here")


LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.mark.parametrize(
    "tree",
    [
        [2, LEAF],
        [1],
        [1, {"type": "builtins.tuple"}],
        [1, {**LEAF, "type": "collections.OrderedDict", "context": "[]"}],
        [1, {**LEAF, "type": "builtins.tuple", "context": "[1]"}],
        [1, {**LEAF, "type": "builtins.dict", "context": '[{"__enum__": true}]'}],
        [1, {**LEAF, "type": "builtins.dict", "context": '["a b"]'}],
        [1, {**LEAF, "more": 1}],
    ],
)
def test_other_trees_are_refused(tree: object) -> None:
    with pytest.raises(Refused):
        grammar.tree(grammar.NAME)(json.dumps(tree), "here")


@pytest.mark.parametrize(
    "name",
    [
        "torch.ops.aten.conv2d.default",
        "torch.ops.aten.conv2d.padding",
        "torch.ops.aten._softmax.default",
        "torch.ops.aten.hardtanh_.default",
        "torch.ops.quantized_decomposed.quantize_per_tensor.default",
        "_operator.mul",
        "torch.sym_max",
        "torch.ops.aten.sym_size.int",
    ],
)
def test_operators_of_networks(name: str) -> None:
    operator(name, "here")


@pytest.mark.parametrize(
    "name",
    [
        "torch.os.system", "torch.load", "torch.hub.load", "torch.ops.aten.from_file.default", "_operator.attrgetter",
        "torch.ops.aten.save.default", "torch.ops.aten.conv2d", "torch.ops.aten.conv2d.default.__call__", "math.factorial",
        "torch.ops.aten.__class__.default", "torch.ops.load_library", "torch.ops.aten.no_such_operator.default",
        "torch.ops.aten.set_.source_Storage", "torch.ops.profiler._record_function_enter_new.default", "builtins.eval",
        "torch.ops.higher_order.cond", "#evil:x", "", None,
    ],
)  # fmt: skip
def test_operators_that_no_network_needs(name: object) -> None:
    with pytest.raises(Refused, match="the operator"):
        operator(name, "here")

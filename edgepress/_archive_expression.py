"""Which shape expressions a `.pt2` may hold: SymPy evaluates their text as Python, so they are parsed here first."""

from __future__ import annotations

import ast
import re
from typing import Any

from edgepress._json_grammar import Refused

SYMBOL = re.compile(r"[su][0-9]{1,4}")
EXPRESSION = re.compile(r"[A-Za-z0-9_'(),=\- ]{1,1000}")
LARGEST_POWER = 4
OPERATIONS = frozenset({
    "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv",
    "ToFloat", "CeilToInt", "FloorToInt", "RoundToInt", "TruncToInt", "TruncToFloat", "And", "Or", "Not",
    "Equality", "Unequality", "LessThan", "GreaterThan", "StrictLessThan", "StrictGreaterThan",
})  # fmt: skip
ASSUMPTIONS = frozenset({"integer", "positive", "nonnegative"})


def expression(value: Any, place: str) -> None:
    """A shape as SymPy prints it, `Mul(Integer(2), Symbol('s0', integer=True))`: SymPy would evaluate anything."""
    try:
        plain = type(value) is str and EXPRESSION.fullmatch(value) is not None
        allowed = plain and _is_expression(ast.parse(value, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        allowed = False
    if not allowed:
        raise Refused(f"the expression {str(value)[:120]!r}", place)


def _is_expression(node: ast.expr) -> bool:
    if _integer(node) is not None or _is_symbol(node):
        return True
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        return False
    if node.func.id == "Pow":
        return len(node.args) == 2 and _is_symbol(node.args[0]) and _is_small(node.args[1])
    return node.func.id in OPERATIONS and all(map(_is_expression, node.args))


def _is_symbol(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Symbol":
        return False
    names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    assumed = all(
        keyword.arg in ASSUMPTIONS
        and isinstance(keyword.value, ast.Constant)
        and type(keyword.value.value) is bool
        for keyword in node.keywords
    )
    named = len(names) == len(node.args) == 1 and isinstance(names[0], str)
    return assumed and named and SYMBOL.fullmatch(str(names[0])) is not None


def _is_small(exponent: ast.expr) -> bool:
    """Powers could be made too large to hold."""
    value = _integer(exponent)
    return value is not None and abs(value) <= LARGEST_POWER


def _integer(node: ast.expr) -> int | None:
    """The number that `3`, `-3` or `Integer(3)` stands for."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer":
        return _integer(node.args[0]) if len(node.args) == 1 and not node.keywords else None
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
    ):
        inner = _integer(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None

"""What the JSON of a `.pt2` may say: the part of PyTorch's export schema that describes a plain network.

Names become Python source when PyTorch rebuilds the graph, expressions are evaluated, tree specifications
import modules, guards are compiled: so each has its own narrow grammar, and what has none is refused.
"""

from __future__ import annotations

import json
import keyword
from typing import Any

from edgepress._archive_expression import SYMBOL, expression
from edgepress._archive_operators import operator
from edgepress._json_grammar import (
    Check,
    Refused,
    constant,
    flag,
    integer,
    listing,
    mapping,
    number,
    optional,
    partial,
    record,
    text,
    union,
)

NAME = text(r"[A-Za-z_][A-Za-z0-9_]*", longest=1000, words=frozenset(keyword.kwlist))
DOTTED_NAME = text(r"(?!(.*\.)?__\w+__(\.|$))[\w\-/+: ]+(\.[\w\-/+: ]+)*", longest=1000)
TRACE = text(r"[^\x00-\x08\x0b-\x1f\x7f]*", longest=100_000)

DEEPEST_TREE = 20


def tree(keys: Check) -> Check:
    """How inputs or outputs nest, as JSON within JSON: tuples, lists, and dictionaries with such `keys`."""

    def branch(value: Any, place: str, depth: int = 0) -> None:
        record(
            type=constant(None, *CONTEXTS), context=optional(text(longest=10_000)), children_spec=_any_list
        )(value, place)
        if depth > DEEPEST_TREE:
            raise Refused("a tree that is too deep", place)
        if value["type"] == "builtins.dict":
            listing(keys)(_decoded(value["context"], place), place)
        elif value["context"] not in (None, "null"):
            raise Refused(f"the context {value['context'][:80]!r}", place)
        for child in value["children_spec"]:
            branch(child, place, depth + 1)

    def check(value: Any, place: str) -> None:
        whole = _decoded(value, place)
        if type(whole) is not list or len(whole) != 2 or whole[0] != 1:
            raise Refused("a tree of an unknown kind", place)
        branch(whole[1], place)

    return check


CONTEXTS = ("builtins.tuple", "builtins.list", "builtins.dict")


def _any_list(value: Any, place: str) -> None:
    if type(value) is not list:
        raise Refused("children that are no list", place)


def _decoded(value: Any, place: str) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        raise Refused("a tree that is no JSON", place) from None


def _symbolic(**plain: Check) -> Check:
    """A value that is known, or an expression with the value it had when the network was captured."""
    hint = optional(union(as_int=integer(), as_float=number, as_bool=flag))
    return union(**plain, as_expr=record(expr_str=expression, hint=hint))


def _named(**plain: Check) -> Check:
    """A value that is known, or the name of the node that computes it."""
    return union(**plain, as_name=NAME)


DEVICE = record(type=constant("cpu"), index=constant(None, 0))
DATA_TYPE = integer(1, 35)
STRIDED = constant(7)


def _tensor_meta(size: Check) -> Check:
    return record(
        dtype=DATA_TYPE,
        sizes=listing(size),
        requires_grad=flag,
        device=DEVICE,
        strides=listing(size),
        storage_offset=size,
        layout=STRIDED,
    )


TENSOR = record(name=NAME)
OPTIONAL_TENSOR = union(as_tensor=TENSOR, as_none=flag)
SYM_INT, SYM_FLOAT, SYM_BOOL = _named(as_int=integer()), _named(as_float=number), _named(as_bool=flag)
ARGUMENT = union(
    as_none=flag,
    as_tensor=TENSOR,
    as_tensors=listing(TENSOR),
    as_optional_tensor=OPTIONAL_TENSOR,
    as_optional_tensors=listing(OPTIONAL_TENSOR),
    as_int=integer(),
    as_ints=listing(integer()),
    as_float=number,
    as_floats=listing(number),
    as_bool=flag,
    as_bools=listing(flag),
    as_string=text(r"[\x20-\x7e]*"),
    as_sym_int=SYM_INT,
    as_sym_ints=listing(SYM_INT),
    as_sym_float=SYM_FLOAT,
    as_sym_floats=listing(SYM_FLOAT),
    as_sym_bool=SYM_BOOL,
    as_sym_bools=listing(SYM_BOOL),
    as_scalar_type=DATA_TYPE,
    as_memory_format=integer(1, 4),
    as_layout=STRIDED,
    as_device=DEVICE,
)
METADATA = partial(stack_trace=TRACE, nn_module_stack=TRACE, torch_fn=TRACE)
NODE = record(
    target=operator,
    inputs=listing(
        record(name=text(r"([A-Za-z_][A-Za-z0-9_]*)?"), arg=ARGUMENT, kind=optional(integer(0, 2)))
    ),
    outputs=listing(ARGUMENT),
    metadata=METADATA,
    is_hop_single_tensor_return=constant(None),
    name=optional(NAME),
)
GRAPH = record(
    inputs=listing(union(as_tensor=TENSOR)),
    outputs=listing(union(as_tensor=TENSOR)),
    nodes=listing(NODE),
    tensor_values=mapping(NAME, _tensor_meta(_symbolic(as_int=integer(low=0)))),
    sym_int_values=mapping(NAME, _symbolic(as_int=integer())),
    sym_bool_values=mapping(NAME, _symbolic(as_bool=flag)),
    sym_float_values=mapping(NAME, _symbolic(as_float=number)),
    is_single_tensor_return=constant(False),
    custom_obj_values=constant({}),
)
SIGNATURE = record(
    input_specs=listing(
        union(
            parameter=record(arg=TENSOR, parameter_name=DOTTED_NAME),
            buffer=record(arg=TENSOR, buffer_name=DOTTED_NAME, persistent=flag),
            tensor_constant=record(arg=TENSOR, tensor_constant_name=DOTTED_NAME),
            user_input=record(arg=union(as_tensor=TENSOR)),
        )
    ),
    output_specs=listing(union(user_output=record(arg=union(as_tensor=TENSOR)))),
)
MODULE_CALL = record(
    fqn=text(r"[\w\-/+:@. ]*", longest=1000),
    signature=optional(
        record(
            inputs=listing(ARGUMENT),
            outputs=listing(ARGUMENT),
            in_spec=tree(NAME),
            out_spec=tree(text(r"[\w\-/+:. ]+")),
            forward_arg_names=optional(listing(NAME)),
        )
    ),
)
PROGRAM = record(
    graph_module=record(
        graph=GRAPH,
        signature=SIGNATURE,
        module_call_graph=listing(MODULE_CALL),
        metadata=constant({}),
        treespec_namedtuple_fields=constant({}),
    ),
    opset_version=mapping(text(r"[a-z_]+"), integer(0, 10_000)),
    range_constraints=mapping(
        text(SYMBOL.pattern), record(min_val=optional(integer()), max_val=optional(integer()))
    ),
    schema_version=record(major=integer(0, 10_000), minor=integer(0, 10_000)),
    verifiers=constant(["TRAINING"], ["ATEN"]),
    torch_version=text(r"[\w.+]+"),
    guards_code=constant([]),
)


def tensors(prefix: str) -> Check:
    """The table of stored tensors: which member, from `prefix` and a number, holds which one. Never pickled."""
    stored = record(
        path_name=text(rf"{prefix}[0-9]{{1,6}}"),
        is_param=flag,
        use_pickle=constant(False),
        tensor_meta=_tensor_meta(union(as_int=integer(low=0))),
    )
    return record(config=mapping(DOTTED_NAME, stored))

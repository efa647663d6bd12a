"""What coremltools has no translation for, asked of its registry: conversion would name only the first."""

from __future__ import annotations

import torch
from torch.fx import Node

from edgepress import graph
from edgepress.convert._coreml.convert import quiet
from edgepress.convert._unsupported import UnsupportedOperator
from edgepress.program import Program


def untranslated(program: Program) -> tuple[UnsupportedOperator, ...]:
    """Every operator, as PyTorch spells it out for an export, that coremltools does not know."""
    with quiet():
        from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

        spelt = program.exported.run_decompositions({})
    return tuple(
        UnsupportedOperator.at(node, f"Core ML has no translation of {graph.op_name(node)}.")
        for node in graph.operators(spelt.graph_module)
        if (name := _kind(node)) and _TORCH_OPS_REGISTRY.get_func(name) is None
    )


def _kind(node: Node) -> str:
    """PyTorch's name of an operator; empty for what makes no tensor: sizes are numbers once the batch is fixed, as it
    is in the file."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return ""
    return str(node.target.name()) if isinstance(node.meta.get("val"), (torch.Tensor, tuple, list)) else ""

"""Exporting a module with a free batch, and saying in the user's terms why PyTorch refuses to."""

from __future__ import annotations

import functools
import inspect
import io
import logging
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.utils import parametrize
from torch.utils import _pytree

from edgepress.errors import UnsupportedModel
from edgepress.graph import aten, sized_by_values, source_line

BATCH_HINT = (
    "the batch must stay free: take its size from x.shape[0] (or -1 in one view), never from a number"
)
BRANCH_HINT = (
    "a captured forward has one path: replace the branch or loop over values by torch.where and the like"
)
OTHER_BATCHES = (3, 7)
"""Odd and prime: a forward that fixes the batch does not run on these."""

GENERAL_HINT = "replace what PyTorch names by operators of torch; the forward must not depend on values"
INPUT_HINT = (
    "wrap it in a module that takes tensors with a batch in front, and keeps what is the same for all samples"
)
MASK_HINT = (
    "keep every place: torch.where(mask, x, 0) in place of x[mask], torch.topk in place of torch.nonzero"
)
CALL_HINT = "check the example inputs (--input): the forward fails on them in plain PyTorch, too"


def export(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """The ATen graph of `module` with axis 0 of every input free.

    Raises UnsupportedModel with PyTorch's reason and the user's line.
    """
    for position, tensor in enumerate(example):
        if not isinstance(tensor, torch.Tensor) or not tensor.ndim or not len(tensor):
            raise UnsupportedModel(
                f"Input {position} of the network is not a tensor with a batch axis.", hint=INPUT_HINT
            )
    batch = torch.export.Dim("batch", min=1)
    dynamic = tuple({0: batch} for _ in example)
    inputs = _two_samples(example)
    try:
        with torch.no_grad(), quiet():
            exported = torch.export.export(
                module, inputs, dynamic_shapes=(dynamic,) if _is_variadic(module) else dynamic, strict=False
            )
    except Exception as error:
        where, hint = _diagnosed(error, module, inputs)
        raise UnsupportedModel(
            f"PyTorch cannot export this network: {_reason(error)}", where=where, hint=hint
        ) from error
    _refuse_outputs_by_values(exported)
    _squeeze_by_axis(exported)
    return _renamed(exported)


def _refuse_outputs_by_values(exported: ExportedProgram) -> None:
    """Raise UnsupportedModel for an output whose size the inputs' values decide: it has no sample on axis 0."""
    outputs = set(exported.graph_signature.user_outputs)
    for node in exported.graph.nodes:
        if node.name in outputs and sized_by_values(node):
            raise UnsupportedModel(
                "An output has a size that depends on values, such as that of a boolean mask.",
                where=source_line(node),
                hint=MASK_HINT,
            )


def _squeeze_by_axis(exported: ExportedProgram) -> None:
    """Name the axes that a bare squeeze() takes away: a batch of one must not go with them."""
    for node in exported.graph.nodes:
        if node.target is aten.squeeze.default:
            sizes = node.args[0].meta["val"].shape
            axes = [axis for axis, size in enumerate(sizes) if isinstance(size, int) and size == 1]
            node.target, node.args = aten.squeeze.dims, (node.args[0], axes)
    exported.graph_module.recompile()


def without_parametrizations(module: torch.nn.Module) -> torch.nn.Module:
    """The module in evaluation mode with each weight stored that it would compute from others at every call
    (torch.nn.utils.parametrizations.weight_norm and spectral_norm): stages change weights that are stored."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer):
            # By hand: remove_parametrizations changes a class that a copy shares with the user's module.
            values = {name: getattr(layer, name).detach().clone() for name in layer.parametrizations}  # type: ignore[union-attr]  # a module dict, by is_parametrized
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            del layer.parametrizations
            for name, value in values.items():
                layer.register_parameter(name, torch.nn.Parameter(value))
    return module


def with_flat_outputs(module: torch.nn.Module) -> torch.nn.Module:
    """The module with a tuple of what it gives where that is a dictionary, or nested: as stages and formats have it."""
    forward = module.forward

    @functools.wraps(forward)
    def flat(*inputs: torch.Tensor) -> object:
        made = forward(*inputs)
        is_flat = isinstance(made, tuple | list) and all(isinstance(each, torch.Tensor) for each in made)
        return made if is_flat or isinstance(made, torch.Tensor) else tuple(_pytree.tree_leaves(made))

    module.forward = flat
    return module


def _renamed(exported: ExportedProgram) -> ExportedProgram:
    """Let no weight stand under a name that a GraphModule has for itself: `meta.weight` becomes `meta_.weight`."""
    taken = set(dir(torch.fx.GraphModule({}, torch.fx.Graph())))

    def free(name: str) -> str:
        first, dot, rest = name.partition(".")
        return f"{first}_{dot}{rest}" if first in taken else name

    stored = (exported.state_dict, exported.constants)
    if not any(free(name) != name for tensors in stored for name in tensors):
        return exported
    for tensors in stored:
        for name in list(tensors):
            # Taken out and put in again, so that the order stays.
            tensors[free(name)] = tensors.pop(name)
    for spec in exported.graph_signature.input_specs:
        spec.target = spec.target and free(spec.target)
    return exported


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch from printing its own account of what it refuses or plans to deprecate."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(disabled)


def _two_samples(example: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The example with a batch of two: torch.export would take a batch of one for a constant."""
    return tuple(torch.cat([tensor[:1], tensor[:1]]) if len(tensor) < 2 else tensor for tensor in example)


def _is_variadic(module: torch.nn.Module) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def _reason(error: Exception) -> str:
    """The first line of the message; what was inferred about the batch where that is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    inferred = [line.removeprefix("- ") for line in lines if line.startswith("- ") and "batch" in line]
    return (inferred or lines or [type(error).__name__])[0].partition(". If you")[0]


def _diagnosed(
    error: Exception, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[str, str]:
    """Where it happened and what to do, by running the module in plain PyTorch: on the example, then on other batches."""
    if isinstance(error, GuardOnDataDependentSymNode):
        return _user_line(error), BRANCH_HINT
    if failed := _failure(module, inputs):
        return _user_line(failed), CALL_HINT
    for size in OTHER_BATCHES:
        other = tuple(tensor[:1].repeat(size, *[1] * (tensor.ndim - 1)) for tensor in inputs)
        if failed := _failure(module, other):
            return _user_line(failed), BATCH_HINT
    return _user_line(error), GENERAL_HINT


def _failure(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Exception | None:
    try:
        with torch.no_grad(), quiet():
            module(*inputs)
    except Exception as error:
        return error
    return None


def _user_line(error: Exception) -> str:
    """The innermost line of the traceback that is neither PyTorch's, Python's, nor ours."""
    standard = sysconfig.get_path("stdlib")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename
        and not frame.filename.startswith("<")
        and not (frame.filename.startswith(standard) and "site-packages" not in frame.filename)
        and frame.filename != __file__
    ]
    return (
        f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "the network's forward"
    )

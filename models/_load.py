"""From a MODEL text to a captured Program: a `.pt2` or `.epz`, a network of the zoo, or `file.py:factory`."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgepress import options as option_types
from edgepress import user_file
from edgepress.backend_fit import FITS
from edgepress.errors import BadInput, BadOption
from edgepress.models import _weights
from edgepress.models._card import Card
from edgepress.preprocess import Preprocess
from edgepress.program import Program

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user says beside MODEL: a weights file, the shape of one sample, options of the builder."""

    weights: str | Path | None = None
    input_shape: Shape | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Preprocess | None = None


def saved(path: str, request: Request) -> Program:
    """The program in a `.pt2` or `.epz`, under another preprocessing if one is asked for."""
    given = {"--weights": request.weights, "--set": request.options, "--input": request.input_shape}
    for option, value in given.items():
        if value:
            raise BadOption(
                f"A {Path(path).suffix} holds a whole network: {option} has no effect on it.",
                where=path,
                hint=f"leave out {option}",
            )
    program = Program.load(path)
    if request.preprocess is None:
        return program
    shape = program.signature.inputs[0].with_batch(1)[1:]
    return dataclasses.replace(program, preprocess=_resized(request.preprocess, shape))


def from_zoo(name: str, build: Callable[..., torch.nn.Module], card: Card, request: Request) -> Program:
    """A network of the zoo, with fresh weights unless a file of them is given."""
    values: dict[str, Any] = dict(request.options)
    preprocess = None
    if card.preprocess is None:
        examples = _other_inputs(name, card, request)
    else:
        shape, preprocess = _zoo_input(card.preprocess, request)
        known = inspect.signature(build).parameters
        implied = {"in_channels": shape[0], "size": shape[-1]}
        values = {key: value for key, value in implied.items() if key in known} | values
        if "size" in known and shape[1] != shape[2]:
            raise BadInput(
                f"{name} takes square pictures, not {_text(shape)}.",
                where="--input",
                hint="--input with equal sides, as 3x224x224",
            )
        examples = (torch.zeros(2, *shape),)
    settled = _checked_options(name, build, values)
    network = build(**settled)
    if request.weights is not None:
        _weights.fit(
            network,
            _weights.read(request.weights),
            where=str(request.weights),
            classes=settled.get("classes"),
        )
    return Program.capture(network, examples, preprocess=preprocess)


def from_file(location: str, request: Request) -> Program:
    """What a function of the user's returns: a Module, or a Module and a tuple of example inputs."""
    factory = user_file.find_function(location)
    try:
        inspect.signature(factory).bind(**request.options)
    except TypeError as error:
        raise BadOption(
            f"The factory cannot be called: {error}.",
            where=location,
            hint="--set gives its keyword arguments",
        ) from None
    returned = user_file.call(lambda: factory(**request.options), Path(location.rpartition(":")[0]))
    network, examples = _network_and_examples(returned, location)
    examples = _examples(request, examples, location)
    if any(tensor.is_meta for tensor in (*network.state_dict().values(), *examples)):
        raise BadInput(
            "The network's tensors are on the meta device: they have no values.",
            where=location,
            hint="build it on the CPU",
        )
    if request.weights is not None:
        _weights.fit(network, _weights.read(request.weights), where=str(request.weights))
    preprocess = request.preprocess and _resized(request.preprocess, tuple(examples[0].shape[1:]))
    return Program.capture(network, examples, preprocess=preprocess)


def refuse_other_files(text: str) -> None:
    """Raise BadInput where MODEL is plainly a file, but not one that holds a network to work on."""
    suffix = Path(text).suffix.lower()
    if suffix in _weights.READERS:
        raise BadInput(
            f"{Path(text).name} is a weights file: it does not contain the network itself.",
            where=text,
            hint=f"a zoo name with --weights {text}, or file.py:factory",
        )
    if suffix.removeprefix(".") in FITS:
        raise BadInput(
            f"{Path(text).name} is a converted file: start from the network it was made from.",
            where=text,
            hint="give its .pt2, a zoo name, or file.py:factory",
        )
    if suffix == ".py" or "/" in text or Path(text).exists():
        raise BadInput(
            f"{text!r} is not a network.",
            where=text,
            hint=f"{text}:FACTORY" if suffix == ".py" else "a .pt2, a zoo name, or file.py:factory",
        )


def _other_inputs(name: str, card: Card, request: Request) -> tuple[torch.Tensor, ...]:
    """Zeros of what a network takes that is no picture; `--input` may give its only input another shape."""
    if request.preprocess is not None:
        raise BadInput(f"{name} takes no pictures.", where="--preprocess", hint="leave it out")
    shapes = card.input_shapes()
    if request.input_shape is not None:
        if len(shapes) > 1 or len(request.input_shape) != len(shapes[0]):
            raise BadInput(
                f"{name} takes {', '.join(map(str, card.inputs))}, not {_text(request.input_shape)}.",
                where="--input",
                hint="leave it out",
            )
        shapes = (request.input_shape,)
    return tuple(
        torch.zeros(2, *shape, dtype=getattr(torch, spec.dtype))
        for shape, spec in zip(shapes, card.inputs, strict=True)
    )


def _zoo_input(usual: Preprocess, request: Request) -> tuple[Shape, Preprocess | None]:
    """The shape of one sample, and the preprocessing that makes it; the card's where nothing else is said.

    There is none for another number of channels than the card's: nobody has said what their means are.
    """
    preprocess = request.preprocess or usual
    shape = request.input_shape or (preprocess.channels, *preprocess.size)
    if len(shape) != 3:
        raise BadInput(
            f"A zoo network takes pictures, not {_text(shape)}.", where="--input", hint="--input 3x224x224"
        )
    if request.preprocess is not None:
        return shape, _resized(preprocess, shape)
    if shape[0] != preprocess.channels:
        return shape, None
    if preprocess.shorter_side is not None:
        shorter_side = round(preprocess.shorter_side * min(shape[1:]) / min(preprocess.size))
        preprocess = dataclasses.replace(preprocess, shorter_side=shorter_side)
    return shape, _resized(preprocess, shape)


def _resized(preprocess: Preprocess, shape: Shape) -> Preprocess:
    """`preprocess` for inputs of `shape`: the network's input has the last word on the size."""
    if len(shape) != 3 or shape[0] != preprocess.channels:
        raise BadInput(
            f"This preprocessing makes {preprocess.channels} channels, but the network takes {_text(shape)}.",
            where="--preprocess",
            hint="channel_order is L for one channel, RGB or BGR for three",
        )
    for key, values in (("mean", preprocess.mean), ("std", preprocess.std)):
        if len(values) not in (1, shape[0]):
            raise BadInput(
                f"{key} has {len(values)} entries for {shape[0]} channels.",
                where="--preprocess",
                hint="give one for each channel, or one for all",
            )
    return dataclasses.replace(preprocess, size=(shape[1], shape[2]))


def _checked_options(name: str, build: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` and the defaults, each of the type that the builder's signature asks for."""
    types = typing.get_type_hints(build, include_extras=True)
    fields = [
        (key, types[key], dataclasses.field(default=parameter.default))
        for key, parameter in inspect.signature(build).parameters.items()
    ]
    checked: Any = option_types.build(
        dataclasses.make_dataclass(name, fields), values, where=f"options of {name}"
    )
    return {key: getattr(checked, key) for key, _, _ in fields}


def _network_and_examples(
    returned: Any, location: str
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...] | None]:
    network, examples = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    are_tensors = examples is None or (
        isinstance(examples, tuple | list)
        and bool(examples)
        and all(isinstance(example, torch.Tensor) and example.ndim for example in examples)
    )
    if not isinstance(network, torch.nn.Module) or not are_tensors:
        raise BadInput(
            f"The factory returned {_kinds(returned)}.",
            where=location,
            hint="return a torch.nn.Module, or (module, (example, ...)) with the batch axis first",
        )
    return network, None if examples is None else tuple(examples)


def _examples(
    request: Request, examples: tuple[torch.Tensor, ...] | None, location: str
) -> tuple[torch.Tensor, ...]:
    shape = request.input_shape
    if shape is None and examples is not None:
        return examples
    if shape is None and request.preprocess is not None:
        shape = (request.preprocess.channels, *request.preprocess.size)
    if shape is None:
        raise BadInput(
            "The size of the network's input is not known.",
            where=location,
            hint="--input 3x224x224, or let the factory return (module, (example, ...))",
        )
    return (torch.zeros(2, *shape),)


def _kinds(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return type(returned).__name__


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"

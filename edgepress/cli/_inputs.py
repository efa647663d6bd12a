"""The arguments that several commands share: the MODEL and the data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgepress.errors import BadOption

if TYPE_CHECKING:
    from edgepress.data import Data
    from edgepress.program import Program

Command = TypeVar("Command", bound=Callable[..., Any])


class _Folder(click.Path):
    """A folder for results. An empty text names none: where a variable of the shell is not set, results would go into
    whatever folder is the current one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise BadOption(
                "No folder is named.",
                where="-o",
                hint="-o FOLDER, or -o . for this one; is a variable unset?",
            )
        return super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path)


@dataclass(frozen=True)
class ModelInput:
    """MODEL and the options that go with it, not loaded yet."""

    text: str
    weights: str | None = None
    input_shape: str | None = None
    settings: tuple[str, ...] = ()
    preprocess: str | None = None

    def load(self) -> Program:
        from edgepress.cli._reading import load
        from edgepress.options import parse

        options = {key: value for text in self.settings for key, value in parse(text, where="--set").items()}
        return load(
            self.text,
            weights=self.weights,
            input_shape=_shape(self.input_shape),
            options=options,
            preprocess=_preprocess(self.preprocess),
        )


@dataclass(frozen=True)
class DataInput:
    """The text of --data and how to divide it, not opened yet."""

    text: str | None
    train_share: float
    seed: int

    def open(self) -> Data | None:
        from edgepress.data import DataOptions, open_data
        from edgepress.options import build

        values = {"train_share": self.train_share, "seed": self.seed}
        options = build(DataOptions, values, where="--train-share, --seed")
        return None if self.text is None else open_data(self.text, options)


def model_argument(command: Command) -> Command:
    """MODEL with --weights, --input, --set and --preprocess, given to the command as `model: ModelInput`."""

    @click.argument("model")
    @click.option(
        "--weights", metavar="FILE", help="Weights for a zoo network: .safetensors, .npz or weights-only .pt."
    )
    @click.option("--input", "input_shape", metavar="CxHxW", help="Input size of one sample, as 3x224x224.")
    @click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="Options of a zoo network: classes=10,width=0.5.",
    )
    @click.option(
        "--preprocess",
        metavar="KEY=VALUE,...",
        help="How pictures become inputs: size=[224,224],mean=[0.5],std=[0.5],...",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        names = ("weights", "input_shape", "settings", "preprocess")
        model = ModelInput(kwargs.pop("model"), **{name: kwargs.pop(name) for name in names})
        return command(*args, model=model, **kwargs)

    return wrapped  # type: ignore[return-value]  # to click it is the command


def data_options(command: Command) -> Command:
    """--data, --train-share and --seed, given to the command as `data: DataInput`."""

    @click.option("--data", metavar="DATA", help="folder:DIR, npz:FILE, digits, or file.py:function.")
    @click.option(
        "--train-share",
        default=0.8,
        show_default=True,
        help="Of data with no split of its own, the share that trains and calibrates.",
    )
    @click.option("--seed", default=0, show_default=True, help="Seed of the split and of the training.")
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        data = DataInput(kwargs.pop("data"), kwargs.pop("train_share"), kwargs.pop("seed"))
        return command(*args, data=data, **kwargs)

    return wrapped  # type: ignore[return-value]  # to click it is the command


def listed_formats(text: str) -> tuple[str, ...]:
    """The formats in `onnx,tflite`, each once; UnknownName for one that nothing writes, UnsupportedTarget, with why,
    for a system of which that is known."""
    from edgepress import convert
    from edgepress.errors import UnsupportedTarget
    from edgepress.unavailable import SYSTEMS

    formats = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for format in formats:
        for system in SYSTEMS:
            if system.name.lower() == format.lower():
                raise UnsupportedTarget(
                    f"edgepress cannot write files for {system.name}: {system.why}.",
                    where=format,
                    hint=system.instead,
                )
        convert.route(format)
    return formats


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        shape = tuple(int(size) for size in text.lower().split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise BadOption(f"{text!r} is not an input size.", where="--input", hint="--input 3x224x224")
    return shape


def _preprocess(text: str | None) -> Any:
    from edgepress.options import build, parse
    from edgepress.preprocess import Preprocess

    if text is None:
        return None
    return build(Preprocess, parse(text, where="--preprocess"), where="--preprocess")

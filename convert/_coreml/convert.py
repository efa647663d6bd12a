"""coremltools as a function: from a Program to a package in a folder."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from edgepress.coreml_file import PACKAGE
from edgepress.errors import UnsupportedModel
from edgepress.program import Program

Weights = Literal["float32", "float16", "int8", "palette4"]

PALETTE_BITS = 4


def converted(program: Program, weights: Weights, folder: Path) -> Path:
    """Write the package of the network for one sample into `folder`.

    A fixed batch, for the Neural Engine takes no free one. Raises UnsupportedModel, with coremltools' words, for
    what it cannot express.
    """
    with quiet():
        import coremltools

        model = _convert(coremltools, program, weights == "float32")
        if weights in ("int8", "palette4"):
            model = _compressed(coremltools.optimize.coreml, model, weights)
        _rename(coremltools, model, program)
        package = folder / PACKAGE
        model.save(str(package))
    return package


def _convert(coremltools: Any, program: Program, single: bool) -> Any:
    exported = torch.export.export(program.exported.module(), program.example_tensors(batch=1))
    precision = coremltools.precision.FLOAT32 if single else coremltools.precision.FLOAT16
    try:
        return coremltools.convert(
            exported.run_decompositions({}),
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS17,
            compute_precision=precision,
            skip_model_load=True,
        )
    except Exception as error:  # coremltools raises whatever its converters meet
        lines = str(error).strip().splitlines()
        raise UnsupportedModel(
            f"Core ML cannot take this network: {lines[0] if lines else type(error).__name__}",
            hint="write the layer that coremltools names with other operators, or convert --to tflite",
        ) from error


def _compressed(optimize: Any, model: Any, weights: Weights) -> Any:
    if weights == "int8":
        options = optimize.OpLinearQuantizerConfig(mode="linear_symmetric")
        return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=options))
    options = optimize.OpPalettizerConfig(mode="kmeans", nbits=PALETTE_BITS)
    return optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=options))


def _rename(coremltools: Any, model: Any, program: Program) -> None:
    """Inputs and outputs as the signature has them."""
    spec = model.get_spec()
    inputs, outputs = program.signature.distinct_names()
    for features, names in ((spec.description.input, inputs), (spec.description.output, outputs)):
        for old, new in zip([feature.name for feature in features], names, strict=True):
            if old != new:
                coremltools.utils.rename_feature(model._spec, old, new)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and remarks, for instance that this version of PyTorch is a new one."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

"""Making TFLite files of small networks and comparing them with PyTorch: `import tflite_files`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgepress import convert, graph, runtime
from edgepress.artifact import Artifact
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.program import Program
from edgepress.stage import Context

IMAGE = (4, 9, 12)
"""Channels, height, width of most inputs: all different, so that no mix-up of axes goes unseen."""

RELATIVE = 1e-5
"""Float kernels add up in another order than PyTorch's: a few units in the last place of the largest output."""


class Calls(nn.Module):
    """A function as a network, with the layers it uses."""

    def __init__(self, function: Callable[..., object], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> object:
        return self.function(x, *self.layers)


def network(function: Callable[..., object], *layers: nn.Module) -> nn.Module:
    """The same in every run, though the layers are made when the tests are imported: convolutions and linear layers
    are drawn anew, and batch-norms do something, with random statistics, scales and shifts."""
    torch.manual_seed(0)
    made = Calls(function, *layers).eval()
    for module in made.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.reset_parameters()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2.0)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_()
    return made


def converted(
    module: nn.Module, shape: tuple[int, ...], folder: Path, **options: object
) -> tuple[Program, Artifact]:
    torch.manual_seed(1)
    program = Program.capture(module, (torch.randn(2, *shape),))
    return program, convert.to(program, "tflite", folder / "made.tflite", options)


def operations(artifact: Artifact) -> list[str]:
    """The operations that the file holds, in order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(
        str(artifact.path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    return [details["op_name"] for details in plain._get_ops_details()]


def ranks(artifact: Artifact) -> set[int]:
    """How many axes the tensors of the file have."""
    from ai_edge_litert.interpreter import Interpreter

    return {len(detail["shape"]) for detail in Interpreter(str(artifact.path)).get_tensor_details()}


def assert_same(program: Program, artifact: Artifact, samples: int = 2, relative: float = RELATIVE) -> None:
    inputs = program.signature.example(samples, seed=3)
    with runtime.open(artifact) as runner:
        found = runner.run(*inputs)
    expected = program.run(*inputs)
    assert len(found) == len(expected)
    for have, want in zip(found, expected, strict=True):
        assert have.shape == want.shape
        assert have.dtype == want.dtype
        assert np.abs(have - want).max() <= relative * max(np.abs(want).max(), 1e-3)


def quantized(program: Program, samples: int = 16) -> Program:
    """The program in int8 by the stage that users call, calibrated on the signature's random inputs."""
    data = ArrayData(*program.signature.example(samples, seed=3))
    context = Context(original=program, load_model=_no_model, data=data)
    return QuantizeStatic(calibration="minmax").apply(program, context).program


def output_step(program: Program) -> float:
    """The size of one step of the first output's int8 code."""
    results = tree_leaves(program.graph_module().graph.output_node().args)
    assert results[0].target is graph.DEQUANTIZE, "the first output is not quantized"
    return float(results[0].args[1])


def steps_apart(program: Program, artifact: Artifact, samples: int = 16) -> np.ndarray:
    """How many steps of its code each entry of the first output is from the program's own."""
    inputs = program.signature.example(samples, seed=3)
    with runtime.open(artifact) as runner:
        found = runner.run(*inputs)[0]
    return np.abs(found - program.run(*inputs)[0]) / output_step(program)


def _no_model(text: str) -> Program:
    raise AssertionError("no stage of these tests loads a model")

"""Every network of the zoo that is no classifier does what the rest of the project asks of a network."""

from __future__ import annotations

import inspect
import math

import pytest
import small_tasks
import torch

from edgepress import cost, models
from edgepress.detection import Gridded
from edgepress.errors import BadInput
from edgepress.models.bert import SelfAttention
from edgepress.models.seq2seq import DecoderStep
from edgepress.preprocess import Preprocess
from edgepress.program import Program

NAMES = tuple(name for name in models.names() if models.card_of(name).task != "classification")

FAST = ("dcgan_generator", "lstm_classifier", "seq2seq_step", "segnet", "unet")
"""The others take seconds each to be captured."""


def outputs(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        given = network(*inputs)
    return (given,) if isinstance(given, torch.Tensor) else tuple(given)


def module_counts(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the layers that hold weights, seen in one forward pass."""
    macs = 0

    def add(module: torch.nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(module, torch.nn.Conv2d):
            macs += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
        elif isinstance(module, torch.nn.ConvTranspose2d):
            macs += given[0].numel() * module.out_channels * math.prod(module.kernel_size)
        elif isinstance(module, torch.nn.Linear):
            macs += output.numel() * module.in_features
        elif isinstance(module, torch.nn.RNNBase):
            matrices = [weight for weight in module.parameters() if weight.ndim == 2]
            macs += given[0].shape[1] * sum(weight.numel() for weight in matrices)
        elif isinstance(module, SelfAttention):
            macs += 2 * given[0].shape[1] ** 2 * given[0].shape[2]
        elif isinstance(module, DecoderStep):
            macs += given[2][0].numel()

    for module in network.modules():
        module.register_forward_hook(add)
    outputs(network.eval(), inputs)
    return sum(parameter.numel() for parameter in network.parameters()), macs


def test_every_network_is_tried() -> None:
    assert set(small_tasks.SMALL) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_builder_takes_keywords_and_says_what_it_is(name: str) -> None:
    build = models.find(name)
    parameters = inspect.signature(build).parameters.values()
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)
    assert inspect.getdoc(build)


@pytest.mark.parametrize("name", NAMES)
def test_card_holds_the_counts_of_the_network(name: str) -> None:
    """Of the whole network, on the device that computes shapes and no values."""
    card = models.card_of(name)
    dtypes = [getattr(torch, spec.dtype) for spec in card.inputs] or [torch.float32]
    with torch.device("meta"):
        network = models.find(name)()
        inputs = tuple(
            torch.zeros(1, *shape, dtype=dtype)
            for shape, dtype in zip(card.input_shapes(), dtypes, strict=True)
        )
        assert (card.parameters, card.macs) == module_counts(network, inputs)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_captured_network_counts_and_gives_what_the_module_does(name: str) -> None:
    network, program = small_tasks.captured(name)
    for batch in (1, 3):
        inputs = small_tasks.inputs(name, batch)
        expected = outputs(network, inputs)
        given = program.run(*(tensor.numpy() for tensor in inputs))
        for want, have in zip(expected, given, strict=True):
            assert have.shape[0] == batch
            # The same kernels in the same order; 1e-5 leaves room for another blocking of the batch.
            torch.testing.assert_close(torch.from_numpy(have), want, rtol=1e-5, atol=1e-5)
    measured = cost.measure(program)
    assert measured.uncounted == ()
    assert (measured.parameters, measured.macs) == module_counts(network, small_tasks.inputs(name, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_network_is_captured(name: str) -> None:
    """The network as published, with weights that nobody has written to: only its graph and its costs are asked for."""
    card = models.card_of(name)
    with torch.device("meta"):
        network = models.find(name)()
    dtypes = [getattr(torch, spec.dtype) for spec in card.inputs] or [torch.float32]
    inputs = tuple(
        torch.zeros(2, *shape, dtype=dtype) for shape, dtype in zip(card.input_shapes(), dtypes, strict=True)
    )
    measured = cost.measure(Program.capture(network.to_empty(device="cpu"), inputs))
    assert (measured.parameters, measured.macs) == (card.parameters, card.macs)


def test_a_detector_is_loaded_for_the_size_that_is_asked_for() -> None:
    program = models.load("yolov3_tiny", input_shape=(3, 64, 64), options={"width": 0.125, "classes": 2})
    assert isinstance(program.reading, Gridded)
    assert program.reading.size == (64, 64)
    assert [spec.shape for spec in program.signature.outputs] == [(None, 21, 2, 2), (None, 21, 4, 4)]
    (found,) = program.reading.decode(program.run(*program.signature.example()))
    assert found.boxes.shape == (len(found), 4)
    with pytest.raises(BadInput, match="square"):
        models.load("yolov3_tiny", input_shape=(3, 64, 96))


def test_a_network_of_sequences_takes_another_length_and_no_pictures() -> None:
    options = {"vocabulary": 50, "embedding": 8, "hidden": 8}
    program = models.load("gru_classifier", input_shape=(5,), options=options)
    assert [(spec.shape, spec.dtype) for spec in program.signature.inputs] == [((None, 5), "int64")]
    with pytest.raises(BadInput, match="takes no pictures"):
        models.load("gru_classifier", preprocess=Preprocess())
    with pytest.raises(BadInput, match="not 3x8x8"):
        models.load("gru_classifier", input_shape=(3, 8, 8))
    with pytest.raises(BadInput, match="annotations"):
        models.load("seq2seq_step", input_shape=(1,))

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from edgepress import models
from edgepress.errors import BadInput, BadOption, UnknownName, UnsupportedModel
from edgepress.preprocess import Preprocess

GRAY = Preprocess(size=(12, 12), mean=(0.5,), std=(0.5,), channel_order="L")

USER_FILE = """
import torch
from sizes import WIDTH

def network():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, WIDTH))

def with_example(outputs=2):
    return torch.nn.Linear(3, outputs), (torch.zeros(1, 3),)

def two_inputs():
    return torch.nn.Bilinear(3, 4, 2), (torch.zeros(2, 3), torch.zeros(2, 4))

def raises():
    raise RuntimeError("no licence")

def returns_number():
    return 3

class Branching(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "sizes.py").write_text("WIDTH = 5\n")
    file = tmp_path / "net.py"
    file.write_text(USER_FILE)
    return file


def test_zoo_network_comes_with_its_card() -> None:
    program = models.load("resnet20", options={"classes": 7})
    assert program.signature.outputs[0].shape == (None, 7)
    assert program.preprocess == models.card_of("resnet20").preprocess


def test_input_size_scales_the_preprocessing_of_the_card() -> None:
    program = models.load("squeezenet1_1", input_shape=(3, 112, 112), options={"classes": 2})
    assert program.signature.inputs[0].shape == (None, 3, 112, 112)
    assert program.preprocess is not None
    assert (program.preprocess.size, program.preprocess.shorter_side) == ((112, 112), 128)


def test_another_number_of_channels_reaches_the_builder() -> None:
    program = models.load("lenet5", input_shape=(3, 28, 28))
    assert program.signature.inputs[0].shape == (None, 3, 28, 28)
    assert program.preprocess is None


def test_preprocessing_given_by_the_user_decides_the_input() -> None:
    program = models.load("resnet20", preprocess=GRAY)
    assert program.signature.inputs[0].shape == (None, 1, 12, 12)
    assert program.preprocess == GRAY


def test_preprocessing_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="makes 1 channels.*3x32x32"):
        models.load("resnet20", preprocess=GRAY, input_shape=(3, 32, 32))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"wide": 2}, UnknownName, "wide"),
        ({"classes": "many"}, BadOption, "classes='many'"),
        ({"classes": 0}, BadOption, "classes=0"),
        ({"shortcut": "none"}, BadOption, "shortcut='none'"),
    ],
)
def test_options_are_checked(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        models.load("resnet20", options=options)


@pytest.mark.parametrize("shape", [(32,), (3, 28, 32)])
def test_input_that_the_network_cannot_take_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="x".join(map(str, shape))):
        models.load("lenet5", input_shape=shape)


def test_input_too_small_for_the_network_gives_the_reason() -> None:
    with pytest.raises(UnsupportedModel, match="too small"):
        models.load("squeezenet1_0", input_shape=(3, 16, 16))


def test_saved_program_loads_and_takes_another_preprocessing(tmp_path: Path) -> None:
    program = models.load("resnet20", preprocess=GRAY)
    path = str(tmp_path / "model.pt2")
    program.save(path)
    assert models.load(path).preprocess == GRAY
    other = Preprocess(mean=(0.1,), std=(0.2,), channel_order="L")
    changed = models.load(path, preprocess=other).preprocess
    assert changed is not None
    assert (changed.mean, changed.size) == ((0.1,), (12, 12))


@pytest.mark.parametrize(
    "option", [{"weights": "w.npz"}, {"options": {"classes": 3}}, {"input_shape": (3, 8, 8)}]
)
def test_options_that_a_saved_program_cannot_use_are_refused(
    option: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(BadOption, match="no effect"):
        models.load(str(tmp_path / "model.pt2"), **option)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.pt2", "missing.pt2' does not exist"),
        ("resnet20.pth", "weights file"),
        ("model.onnx", "converted file"),
        ("model.tensorrt", "converted file"),
        ("net.py", "not a network"),
        ("net.py:build", "net.py' does not exist"),
        ("some/folder", "not a network"),
    ],
)
def test_a_text_that_is_no_model_says_what_it_is(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        models.load(text)


def test_factory_with_an_example_needs_no_size(user_file: Path) -> None:
    program = models.load(f"{user_file}:with_example", options={"outputs": 4})
    assert program.signature.inputs[0].shape == (None, 3)
    assert program.signature.outputs[0].shape == (None, 4)


def test_factory_may_import_what_lies_beside_its_file(user_file: Path) -> None:
    program = models.load(f"{user_file}:network", input_shape=(1, 12, 12))
    assert program.signature.outputs[0].shape == (None, 5)


def test_preprocessing_gives_the_size_that_the_factory_does_not(user_file: Path) -> None:
    assert models.load(f"{user_file}:network", preprocess=GRAY).signature.inputs[0].shape == (None, 1, 12, 12)


def test_factory_of_a_network_with_two_inputs(user_file: Path) -> None:
    program = models.load(f"{user_file}:two_inputs")
    assert [spec.shape for spec in program.signature.inputs] == [(None, 3), (None, 4)]


def test_weights_reach_the_network_of_a_factory(user_file: Path, tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    torch.save(weights, tmp_path / "w.pt")
    program = models.load(f"{user_file}:with_example", weights=tmp_path / "w.pt")
    (output,) = program.run(torch.ones(1, 3).numpy())
    assert output.tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        ("network", BadInput, "--input 3x224x224"),
        ("raises", BadInput, r'(?s)no licence.*net.py:\d+: raise RuntimeError\("no licence"\)'),
        ("returns_number", BadInput, "returned int"),
        ("netwrok", UnknownName, "Did you mean 'network'"),
    ],
)
def test_factory_that_does_not_do_its_part(
    user_file: Path, factory: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        models.load(f"{user_file}:{factory}")
    assert re.search(message, str(caught.value))


def test_factory_that_takes_no_such_option(user_file: Path) -> None:
    with pytest.raises(BadOption, match="inputs"):
        models.load(f"{user_file}:with_example", options={"inputs": 4})


def test_network_that_cannot_be_exported_shows_the_line_and_no_traceback(
    user_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedModel, match="data-dependent") as caught:
        models.load(f"{user_file}:Branching", input_shape=(3, 4, 4))
    assert "if x.sum() > 0:" in caught.value.where
    assert capfd.readouterr() == ("", "")

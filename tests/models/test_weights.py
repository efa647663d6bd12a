from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import shared_data
import torch

from edgepress import models
from edgepress.errors import BadInput
from edgepress.models import _weights


def layer() -> torch.nn.Linear:
    return torch.nn.Linear(3, 2)


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("ending", ["safetensors", "npz", "pt", "pth", "bin"])
def test_every_kind_of_file_is_read(ending: str, tmp_path: Path) -> None:
    state = layer().state_dict()
    read = _weights.read(write(tmp_path / f"w.{ending}", state))
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("wrapper", [(), ("state_dict",), ("model",), ("model", "state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_checkpoints_of_training_scripts_are_unwrapped(
    wrapper: tuple[str, ...], prefix: str, tmp_path: Path
) -> None:
    content: dict[str, Any] = {prefix + name: tensor for name, tensor in layer().state_dict().items()}
    for key in wrapper:
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "w.pt")
    assert set(_weights.read(tmp_path / "w.pt")) == {"weight", "bias"}


def test_a_pickled_module_is_refused_and_never_run(tmp_path: Path) -> None:
    torch.save(layer(), tmp_path / "whole.pt")
    with pytest.raises(BadInput, match="pickled") as caught:
        _weights.read(tmp_path / "whole.pt")
    assert "state_dict()" in caught.value.hint
    assert "file.py:factory" in caught.value.hint


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("ending", ["pt", "npz"])
def test_a_crafted_file_runs_nothing(ending: str, tmp_path: Path) -> None:
    file, mark = tmp_path / f"w.{ending}", tmp_path / "ran"
    if ending == "pt":
        torch.save({"weight": Payload(mark)}, file)
    else:
        np.savez(file, weight=np.array([Payload(mark)], dtype=object))
    with pytest.raises(BadInput):
        _weights.read(file)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("ending", "share"), itertools.product(("safetensors", "npz", "pt"), (0.0, 0.1, 0.5, 0.95))
)
def test_a_file_cut_short_is_refused(ending: str, share: float, tmp_path: Path) -> None:
    file = write(tmp_path / f"w.{ending}", torch.nn.Linear(64, 64).state_dict())
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadInput, match=f"w.{ending}"):
        _weights.read(file)


@pytest.mark.parametrize("ending", ["safetensors", "npz", "pt"])
def test_a_file_of_something_else_is_refused(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"w.{ending}"
    file.write_bytes(b"hello world " * 40)
    with pytest.raises(BadInput, match=f"w.{ending}"):
        _weights.read(file)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_weights_by_name_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"w\.pt holds"):
        _weights.read(tmp_path / "w.pt")


def test_a_torchscript_program_is_told_from_weights(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(layer(), torch.zeros(1, 3)), tmp_path / "w.pt")
    with pytest.raises(BadInput, match="TorchScript"):
        _weights.read(tmp_path / "w.pt")


def test_an_unknown_ending_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"\.h5"):
        _weights.read(tmp_path / "w.h5")
    with pytest.raises(BadInput, match="does not exist"):
        _weights.read(tmp_path / "w.pt")


def test_what_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    network = torch.nn.Sequential(layer(), layer(), layer())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {f"{index}.weight": torch.zeros(2, 3) for index in range(9)} | {"0.bias": torch.zeros(7)}
    with pytest.raises(BadInput) as caught:
        _weights.fit(network, state, where="w.pt")
    assert "2 missing: 1.bias, 2.bias;" in caught.value.what
    assert "6 unexpected: 3.weight, 4.weight, 5.weight, 6.weight, 7.weight, ...;" in caught.value.what
    assert "1 of another shape: 0.bias 7 for 2." in caught.value.what
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "squeezenet1_1"])
def test_another_class_count_is_named_as_such(name: str) -> None:
    state = models.find(name)(classes=12).state_dict()
    with pytest.raises(BadInput, match="for 12 classes, but the network has 10") as caught:
        _weights.fit(models.find(name)(classes=10), state, where="w.pt", classes=10)
    assert caught.value.hint == "--set classes=12"


def test_another_width_is_not_taken_for_a_class_count() -> None:
    state = models.find("mobilenet_v2")(width=0.5).state_dict()
    with pytest.raises(BadInput, match="do not fit.*of another shape"):
        _weights.fit(models.find("mobilenet_v2")(width=0.25), state, where="w.pt", classes=1000)


def test_batch_counters_may_be_absent() -> None:
    network = models.find("resnet20")()
    state = {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}
    _weights.fit(network, state, where="w.pt")


def test_half_precision_weights_are_widened() -> None:
    network = layer()
    _weights.fit(network, {"weight": torch.ones(2, 3).half(), "bias": torch.zeros(2).half()}, where="w.pt")
    assert network.weight.dtype == torch.float32
    assert network.weight.sum() == 6


def test_released_weights_fit_by_the_names_they_came_with() -> None:
    folder = shared_data.folder()
    resnet = models.load("resnet20", weights=folder / "resnet20_cifar10.npz")
    with np.load(folder / "resnet20_cifar10.npz") as arrays:
        assert torch.equal(resnet.exported.state_dict["fc.bias"], torch.from_numpy(arrays["fc.bias"]))
    squeezenet = models.load(
        "squeezenet1_0",
        weights=folder / "squeezenet1_0_imagenet.npz",
        input_shape=(3, 227, 227),
        options={"final_padding": 1},
    )
    with np.load(folder / "squeezenet1_0_imagenet.npz") as arrays:
        expected = torch.from_numpy(arrays["fire5/conv3x3_2.weight"])
    assert torch.equal(squeezenet.exported.state_dict["features.7.expand3x3.weight"], expected)

"""Every network of the zoo does what the rest of the project asks of a network."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import pytest
import small_zoo
import torch
from small_zoo import CLASSIFIERS, QUICK

from edgepress import models
from edgepress.errors import BadOption, UnknownName
from edgepress.models import nasnet, shufflenet_v1, squeezenet
from edgepress.program import Program

SIDE = 32
WITHOUT_NOISE = ("lenet5",)
"""Networks with neither batch-norm nor dropout."""


def shape(name: str) -> tuple[int, ...]:
    """Of one sample: `SIDE` pixels a side where the network has a form for that, its small input otherwise."""
    channels, *size = small_zoo.SMALL[name]
    return (channels, SIDE, SIDE) if name in QUICK else (channels, *size)


def small(name: str) -> torch.nn.Module:
    """The network for ten classes of pictures of that shape, narrow where it can be."""
    wanted = {
        "classes": 10, "small_input": True, "width": 0.5 if name == "shufflenet_v2" else 0.25, "size": shape(name)[-1],
    }  # fmt: skip
    build = models.find(name)
    return build(
        **{key: value for key, value in wanted.items() if key in inspect.signature(build).parameters}
    )


def pictures(name: str, batch: int) -> torch.Tensor:
    return torch.randn(batch, *shape(name))


@functools.cache
def captured(name: str) -> tuple[torch.nn.Module, Program]:
    """The module in evaluation mode and its capture; no test changes either."""
    network = small(name).eval()
    return network, Program.capture(network, (pictures(name, 2),))


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="mobilenet_v2"):
        models.find("mobilenetv2")


def test_every_network_has_a_small_input_to_be_tried_at() -> None:
    assert set(small_zoo.SMALL) == set(CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_builder_takes_keywords_and_says_what_it_is(name: str) -> None:
    build = models.find(name)
    parameters = inspect.signature(build).parameters
    assert "classes" in parameters
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert inspect.getdoc(build)


@pytest.mark.parametrize("name", small_zoo.each(CLASSIFIERS))
def test_captured_network_equals_the_module_at_any_batch(name: str) -> None:
    network, program = captured(name)
    for batch in (1, 2, 5):
        inputs = pictures(name, batch)
        with torch.inference_mode():
            expected = network(inputs)
        (output,) = program.run(inputs.numpy())
        assert output.shape == (batch, 10)
        # The same kernels in the same order; 1e-5 leaves room for another blocking of the batch.
        torch.testing.assert_close(torch.from_numpy(output), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", small_zoo.each(CLASSIFIERS))
def test_one_training_step_moves_every_weight(name: str) -> None:
    network = captured(name)[1].module().train()
    before = {key: value.detach().clone() for key, value in network.named_parameters()}

    labels = torch.arange(8) % 10
    torch.nn.functional.cross_entropy(network(pictures(name, 8)), labels).backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()

    still = [key for key, value in network.named_parameters() if torch.equal(value, before[key])]
    assert still == []


@pytest.mark.parametrize(
    "name", small_zoo.each(tuple(name for name in CLASSIFIERS if name not in WITHOUT_NOISE))
)
def test_train_and_eval_differ_as_batch_norm_and_dropout_do(name: str) -> None:
    network, inputs = captured(name)[1].module(), pictures(name, 8)
    with torch.no_grad():
        in_evaluation = network.eval()(inputs)
        in_training = network.train()(inputs)
        again = network.eval()(inputs)
    assert not torch.allclose(in_evaluation, in_training)
    has_statistics = any("running_mean" in key for key in network.state_dict())
    assert torch.equal(in_evaluation, again) != has_statistics


@pytest.mark.parametrize("name", small_zoo.each(CLASSIFIERS))
def test_saved_network_loads_to_the_same_outputs(name: str, tmp_path: Path) -> None:
    (_, program), inputs = captured(name), pictures(name, 3).numpy()
    program.save(tmp_path / "model.pt2")
    (loaded,) = Program.load(tmp_path / "model.pt2").run(inputs)
    (original,) = program.run(inputs)
    assert (loaded == original).all()


@pytest.mark.parametrize(
    "name", [name for name in QUICK if "small_input" in inspect.signature(models.find(name)).parameters]
)
def test_small_input_keeps_more_than_one_position(name: str) -> None:
    sizes: list[int] = []
    network = small(name)
    for module in network.modules():
        if isinstance(module, torch.nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda module, inputs, output: sizes.append(inputs[0].shape[-1]))
    with torch.no_grad():
        network.eval()(pictures(name, 1))
    assert sizes == ([8] if "squeeze" in name else [4])


def test_lenet_takes_pictures_of_other_sizes() -> None:
    network = models.find("lenet5")(size=28, in_channels=3)
    assert network(torch.zeros(1, 3, 28, 28)).shape == (1, 10)


@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2"])
def test_a_width_that_shufflenet_lacks_is_refused(name: str) -> None:
    with pytest.raises(BadOption, match="0.3"):
        models.find(name)(width=0.3)


def test_padding_shortcut_takes_every_second_pixel_between_zeros() -> None:
    block = models.find("resnet20")(shortcut="padding").layer2[0]
    features = torch.rand(2, 16, 8, 8)
    output = block.shortcut(features)
    assert torch.equal(output[:, 8:24], features[:, :, ::2, ::2])
    assert not output[:, :8].any()
    assert not output[:, 24:].any()


def test_a_shuffle_takes_channels_from_its_groups_in_turn() -> None:
    channels = torch.arange(6).view(1, 6, 1, 1)
    assert shufflenet_v1.shuffle(channels, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("is_mean", [True, False])
def test_nasnet_halves_as_its_authors_framework_does(side: int, is_mean: bool) -> None:
    """Same size as half rounded up; of an even side the window over the last pixels hangs out, of an odd one both do."""
    features = torch.rand(1, 2, side, side)
    around = (0, 1, 0, 1) if side % 2 == 0 else (1, 1, 1, 1)
    outside = torch.nn.functional.pad(features, around, value=float("nan"))
    windows = outside.unfold(2, 3, 2).unfold(3, 3, 2).flatten(-2)
    expected = windows.nanmean(-1) if is_mean else windows.nan_to_num(-1.0).amax(-1)
    torch.testing.assert_close(nasnet.Pool(2, is_mean=is_mean)(features), expected)
    padded = nasnet.Padding(3)(features)
    assert torch.equal(padded, torch.nn.functional.pad(features, around))


def test_a_bypass_adds_the_input_of_a_fire_module() -> None:
    fire = models.find("squeezenet1_1")(bypass="simple").features[4].eval()
    features = torch.rand(1, 128, 4, 4)
    torch.testing.assert_close(fire(features), squeezenet.Fire.forward(fire, features) + features)

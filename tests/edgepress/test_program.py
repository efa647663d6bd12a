"""The captured network: capture, copies, replacement, saving, and what is said when PyTorch refuses."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edgepress import graph
from edgepress.errors import BadInput, UnsupportedModel
from edgepress.history import Step
from edgepress.preprocess import Preprocess
from edgepress.program import Program
from edgepress.signature import Signature, TensorSpec


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.body(picture).mean((2, 3))))


@pytest.fixture
def net() -> Net:
    net = Net()
    net(torch.randn(16, 3, 8, 8))  # statistics that are not the initial ones
    return net.eval()


@pytest.fixture
def program(net: Net) -> Program:
    return Program.capture(
        net, (torch.zeros(1, 3, 8, 8),), preprocess=Preprocess(size=(8, 8)), labels="abcde"
    )


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_gives_what_the_module_gives(net: Net, program: Program, batch: int) -> None:
    x = torch.randn(batch, 3, 8, 8)
    np.testing.assert_allclose(program.run(x.numpy())[0], net(x).detach().numpy(), atol=1e-6)


def test_signature_and_names(program: Program) -> None:
    assert program.signature.inputs == (TensorSpec("picture", (None, 3, 8, 8)),)
    assert [spec.shape for spec in program.signature.outputs] == [(None, 5)]
    assert set(program.exported.state_dict) == set(Net().state_dict())
    names = dict(graph.layers(program.graph_module()))
    assert names["body.0"] == "conv2d"
    assert names["head"] == "linear"


def test_capture_leaves_the_module_alone() -> None:
    net = Net().train()
    before = copy.deepcopy(net.state_dict())
    Program.capture(net, (torch.zeros(1, 3, 8, 8),))
    assert net.training
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


def test_copies_do_not_reach_the_program(program: Program) -> None:
    x = np.ones((2, 3, 8, 8), np.float32)
    before = program.run(x)[0]
    with torch.no_grad():
        for parameter in [*program.module().parameters(), *program.graph_module().parameters()]:
            parameter.zero_()
    np.testing.assert_array_equal(program.run(x)[0], before)


def test_training_and_replacing(program: Program) -> None:
    module = program.module().train()
    x = torch.randn(8, 3, 8, 8)
    assert not torch.equal(module(x), module(x)), "dropout is random in training"
    mean = module.state_dict()["body.1.running_mean"].clone()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(module.state_dict()["body.1.running_mean"], mean), "batch-norm follows in training"
    trained = program.replace(module)
    expected = module.eval()(x).detach().numpy()
    np.testing.assert_allclose(trained.run(x.numpy())[0], expected, atol=1e-6)
    assert np.abs(program.run(x.numpy())[0] - expected).max() > 1e-3
    assert trained.signature == program.signature
    assert trained.labels == program.labels


def test_replace_takes_new_shapes(program: Program) -> None:
    """Half the channels cut away by hand: shapes are computed anew, names stay."""
    module = program.graph_module()
    for name in ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"):
        graph.set_constant(module, name, dict(module.named_parameters())[name][:4])
    for name in ("body.1.running_mean", "body.1.running_var"):
        graph.set_constant(module, name, dict(module.named_buffers())[name][:4])
    graph.set_constant(module, "head.weight", dict(module.named_parameters())["head.weight"][:, :4])
    smaller = program.replace(module)
    (conv,) = (node for node in graph.operators(smaller.graph_module()) if graph.op_name(node) == "conv2d")
    assert graph.shape(conv) == (None, 4, 6, 6)
    assert smaller.run(np.zeros((3, 3, 8, 8), np.float32))[0].shape == (3, 5)
    assert graph.layer_name(conv) == "body.0"


def test_replace_refuses_a_graph_that_does_not_hold_together(program: Program) -> None:
    module = program.graph_module()
    graph.set_constant(module, "head.weight", torch.zeros(5, 3))
    with pytest.raises(UnsupportedModel, match="PyTorch cannot export"):
        program.replace(module)


def test_everything_travels_with_the_file(program: Program, tmp_path: Path) -> None:
    done = program.with_step(Step("prune", {"macs": 0.5}, {"top1": 90.0}))
    artifact = done.save(tmp_path / "deep" / "model.pt2")
    loaded = Program.load(artifact.path)
    assert (loaded.signature, loaded.preprocess, loaded.labels, loaded.history) == (
        done.signature,
        done.preprocess,
        done.labels,
        done.history,
    )
    assert program.history.steps == ()
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(loaded.run(x)[0], program.run(x)[0])


def test_a_program_is_saved_as_pt2(program: Program, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"saved as \.pt2"):
        program.save(tmp_path / "model.onnx")


def test_a_manifest_of_another_network_is_refused(program: Program, tmp_path: Path) -> None:
    swapped = Signature(program.signature.inputs, program.signature.inputs)
    other = Program(program.exported, swapped)
    other.save(tmp_path / "model.pt2")
    with pytest.raises(BadInput, match="not those of its manifest"):
        Program.load(tmp_path / "model.pt2")


def test_inputs_that_do_not_fit(program: Program) -> None:
    with pytest.raises(BadInput, match="takes float32 Nx3x8x8, but got float32 2x3x9x9"):
        program.run(np.zeros((2, 3, 9, 9), np.float32))


class Branch(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x


class FixedBatch(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        return y.view(2, -1)


class Misfit(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.zeros(5, 2)


class Silent(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Masked(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x > 0] * 2


REFUSED = [
    (Masked, "a size that depends on values", "return x[x > 0] * 2", "torch.where"),
    (Branch, "data-dependent", "if x.sum() > 0:", "torch.where"),
    (FixedBatch, r"constant \(2\)", "return y.view(2, -1)", "x.shape[0]"),
    (Misfit, "reduction dim", "return x @ torch.zeros(5, 2)", "example inputs"),
    (Silent, "NotImplementedError", "raise NotImplementedError", "example inputs"),
]


@pytest.mark.parametrize(("network", "reason", "line", "hint"), REFUSED)
def test_refusals_give_reason_line_and_way_out(
    network: type[torch.nn.Module], reason: str, line: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        Program.capture(network(), (torch.ones(2, 3),))
    assert Path(__file__).name in caught.value.where
    assert line in caught.value.where
    assert hint in caught.value.hint
    assert capfd.readouterr().err == ""


class WithNumber(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        return x, 3


def test_outputs_that_are_no_tensors() -> None:
    with pytest.raises(UnsupportedModel, match="not a tensor but int"):
        Program.capture(WithNumber(), (torch.ones(2, 3),))


def test_inputs_without_a_batch_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="Input 1 .* not a tensor with a batch axis"):
        Program.capture(torch.nn.Bilinear(3, 3, 2), (torch.ones(2, 3), torch.tensor(1.0)))


def test_types_that_numpy_lacks_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="as bfloat16") as caught:
        Program.capture(torch.nn.Linear(3, 2).bfloat16(), (torch.ones(2, 3, dtype=torch.bfloat16),))
    assert "float()" in caught.value.hint


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    network = torch.nn.Linear(3, 2)
    network.derived = network.weight * 2  # what torch.nn.utils.weight_norm leaves behind
    with pytest.raises(UnsupportedModel, match="cannot copy") as caught:
        Program.capture(network, (torch.ones(2, 3),))
    assert "remove_weight_norm" in caught.value.hint


def test_weights_that_are_computed_at_every_call_are_stored() -> None:
    normal = torch.nn.utils.parametrizations
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        normal.weight_norm(torch.nn.Linear(3, 4)), normal.spectral_norm(torch.nn.Linear(4, 2))
    ).eval()
    program, x = Program.capture(network, (torch.ones(2, 3),)), torch.randn(5, 3)
    assert sorted(program.exported.state_dict) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    torch.testing.assert_close(program.graph_module()(x), network(x))
    assert torch.nn.utils.parametrize.is_parametrized(network[0], "weight"), (
        "the user's network stays as it was"
    )


class NamedAsGraphsAre(torch.nn.Module):
    """Its layers have names under which a GraphModule has something else."""

    def __init__(self) -> None:
        super().__init__()
        self.meta, self.graph = torch.nn.Sequential(torch.nn.Linear(3, 4)), torch.nn.Linear(4, 2)
        self.register_buffer("code", torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.graph(self.meta(x)) + self.code


def test_layers_may_be_called_as_a_graph_calls_its_own(tmp_path: Path) -> None:
    network, x = NamedAsGraphsAre(), torch.randn(5, 3)
    program = Program.capture(network, (torch.ones(2, 3),))
    program.replace(program.graph_module()).save(tmp_path / "model.pt2")
    torch.testing.assert_close(Program.load(tmp_path / "model.pt2").graph_module()(x), network(x))


class Named(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"scores": x * 2, "hidden": (x + 1, x - 1)}


def test_outputs_with_names_become_a_tuple() -> None:
    program, x = Program.capture(Named(), (torch.ones(2, 3),)), torch.randn(5, 3)
    assert [spec.name for spec in program.signature.inputs] == ["x"]
    torch.testing.assert_close(program.graph_module()(x), (x * 2, x + 1, x - 1))


class BetweenTwo(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.attention(x, y, y)[0]


def test_attention_between_two_sequences_has_layers_with_weights_of_their_own() -> None:
    network, inputs = BetweenTwo().eval(), (torch.randn(2, 3, 8), torch.randn(2, 5, 8))
    program = Program.capture(network, inputs)
    layers = [node for node in graph.operators(program.graph_module()) if node.target in graph.WEIGHTED]
    assert [graph.weight_name(node).removeprefix("attention.") for node in layers] == [
        "in_proj_weight_0",
        "in_proj_weight_1",
        "out_proj.weight",
    ]
    assert "attention.in_proj_weight" not in program.exported.state_dict
    torch.testing.assert_close(program.graph_module()(*inputs), network(*inputs))


class Squeezed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True).squeeze()


def test_a_bare_squeeze_leaves_a_batch_of_one(tmp_path: Path) -> None:
    program = Program.capture(Squeezed(), (torch.ones(2, 3, 4, 4),))
    program.save(tmp_path / "model.pt2")
    for one in (program, Program.load(tmp_path / "model.pt2")):
        assert one.run(np.ones((1, 3, 4, 4), np.float32))[0].shape == (1, 3)

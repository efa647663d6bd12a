"""Planted dead channels, on one tiny network for each structural trouble and on the whole zoo."""

from __future__ import annotations

import functools

import pytest
import torch
from awkward_networks import NETWORKS
from planted_channels import assert_dead_channels_go
from torch import nn

from edgepress import cost, graph, models
from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.plan import reasons_to_stay
from edgepress.compress._channels.structure import read_structure
from edgepress.compress.prune_channels import plan_exactly, rewrite
from edgepress.program import Program

ATTENTION = ("separate_heads", "hand_written_heads", "einsum_heads", "grouped_queries", "repeated_keys") + (
    "packed_heads",
    "chunked_heads",
    "heads_apart",
)

STAYS = {
    "last_axis": {"first.0": "layer_norm", "narrow": "layer_norm"},
    "spatial_attention": {"first.0": "across all channels", "mask": "only channel"},
    "transformer": {"out": "the network's input x", "narrow": "the network's input x"},
    "picked_channel": {"first.0": "picks single channels"},
    "standardised_weight": {"first.0": "conv2d", "conv2d_1": "computed in the forward"},
    "tied_decoder": {
        "second.0": "encode.weight is also used",
        "encode": "linear",
        "linear_1": "computed in the forward",
    },
    "gated_picture": {"gate": "only channel"},
    "maxout": {"wide": "max_pool1d"},
    "computed_bias": {"middle": "computed"},
    "shuffled_groups": {"a.0": "all together"},
    "shuffled_before_last_axis": {"conv": "another axis"},
    "auxiliary": {"second.0": "network's output"},
    **{name: {"out": "the network's input x"} for name in ATTENTION},
    "one_key": {"out": "the network's input x"},
    "windows": {"out": "the result of reshape"},
    "multihead_module": {"attention.out_proj": "the network's input x"},
    "multihead_weights": {"attention.out_proj": "the network's input x"},
    "projected": {"lstm": "projects its states"},
    "called_with_a_state": {"gru": "the network's input state"},
    "decoder": {
        "layer.self_attn.out_proj": "the network's input x",
        "layer.multihead_attn.out_proj": "the network's input x",
        "layer.linear2": "the network's input x",
    },
    "bert": dict.fromkeys(("words", "positions", "out", "narrow"), "layer_norm in norm "),
    "vision_transformer": {
        "patches": "layer_norm in norms.0",
        "out": "layer_norm in norms.0",
        "narrow": "layer_norm in norms.0",
    },
    "channel_attention": {"conv.0": "each of others"},
    "one_group": {"first.0": "all together"},
    "generator": {"second": "network's output"},
    "shuffled_head": {"a.0": "network's output", "b.0": "network's output"},
}
"""Of each network the layers, other than its last ones, that cannot lose a channel, and a part of the reason."""

OUTPUTS = {"head", "out", "decode", "a", "b", "c"}


@functools.cache
def _captured(name: str) -> Program:
    return Program.capture(*NETWORKS[name]())


@pytest.mark.parametrize("name", NETWORKS)
def test_dead_channels_go_without_a_trace(name: str) -> None:
    program = _captured(name)
    pruned, plan = assert_dead_channels_go(program)
    before, after = cost.measure(program), cost.measure(pruned)
    assert (after.macs, after.parameters) == (plan.macs_after, plan.parameters_after)
    assert after.parameters < before.parameters
    assert after.macs < before.macs


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_that_stays_says_why(name: str) -> None:
    reasons = reasons_to_stay(read_structure(_captured(name)))
    expected = STAYS.get(name, {})
    for layer, part in expected.items():
        assert part in reasons.pop(layer)
    assert set(reasons) <= OUTPUTS, "no other layer is held back"
    assert all("network's output" in reason for reason in reasons.values())


def test_a_head_goes_from_query_key_and_value_at_once() -> None:
    (qkv,) = (
        layer for layer in plan_exactly(_captured("packed_heads"), {"qkv": [5]}).layers if layer.removed
    )
    assert qkv.removed == (4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31)


def test_heads_that_become_narrower_keep_the_scale_of_their_softmax() -> None:
    program = _captured("one_key")
    pruned = rewrite(program, plan_exactly(program, {"key": [0, 3]}))
    (node,) = (
        node
        for node in graph.operators(pruned.graph_module())
        if node.target is graph.aten.scaled_dot_product_attention.default
    )
    assert node.kwargs["scale"] == 8**-0.5
    assert graph.shape(node.args[0])[-1] == 6


@pytest.mark.parametrize(
    ("name", "parts", "layer", "free"),
    [
        ("separate_heads", "within", "key", 4),
        ("hand_written_heads", "within", "key", 4),
        ("einsum_heads", "within", "key", 4),
        ("grouped_queries", "within", "key", 4),
        ("repeated_keys", "within", "key", 4),
        ("packed_heads", "within", "qkv", 8),
        ("heads_apart", "within", "qkv", 8),
        ("windows", "within", "qkv", 8),
        ("multihead_module", "within", "attention", 8),
        ("many_groups", "within", "layers.1.0", 4),
        ("depthwise_multiplier", "within", "layers.0.0", 2),
        ("two_groups", "whole", "layers.0.0", 2),
        ("odd_groups", "whole", "each", 4),
        ("transposed_odd", "whole", "three", 3),
    ],
)
def test_heads_and_groups_go_whole_or_become_narrower(name: str, parts: Parts, layer: str, free: int) -> None:
    """`free` is how many sets of the layer's outputs can go, each by itself."""
    structure = read_structure(_captured(name), parts)
    (outputs,) = (found.outputs for found in structure.layers if found.name == layer)
    assert len(set(outputs.tolist()) - set(structure.labelling.reasons)) == free
    assert_dead_channels_go(_captured(name), share=0.5, parts=parts)


def test_groups_that_a_shuffle_ties_together_lose_channels_within() -> None:
    """ShuffleNet v1 with eight groups: each reads channels of all others, so that none can go whole."""

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 64, 1, groups=1), nn.Conv2d(256, 128, 1, groups=8)
            self.grouped, self.each = nn.Conv2d(64, 256, 1, groups=8), nn.Conv2d(256, 256, 3, groups=256)
            self.shuffle, self.head = nn.ChannelShuffle(8), nn.Linear(128, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.each(self.shuffle(torch.relu(self.grouped(torch.relu(self.first(x))))))
            return self.head(torch.relu(self.last(x)).mean((2, 3)))

    torch.manual_seed(0)
    program = Program.capture(Shuffled(), (torch.randn(2, 3, 6, 6),))
    assert set(reasons_to_stay(read_structure(program))) == {"head"}
    _, plan = assert_dead_channels_go(program, share=0.5)
    notes = {layer.name: layer.groups for layer in plan.layers if layer.groups}
    assert notes.keys() == {"grouped", "last"}
    assert all("in each of its 8 groups" in note for note in notes.values())


def test_a_pruned_network_can_be_pruned_again() -> None:
    program = _captured("shuffle_by_view")
    once, _ = assert_dead_channels_go(program, share=0.2)
    assert_dead_channels_go(once, share=0.2, seed=1)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("lenet5", {}, (1, 32, 32)),
        ("resnet20", {}, (3, 32, 32)),
        ("squeezenet1_1", {"classes": 10}, (3, 64, 64)),
        pytest.param("squeezenet1_0", {"classes": 10}, (3, 64, 64), marks=pytest.mark.slow),
        pytest.param("mobilenet_v1", {"width": 0.25, "classes": 10}, (3, 64, 64), marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", {"width": 0.35, "classes": 10}, (3, 64, 64), marks=pytest.mark.slow),
        pytest.param("resnet56", {}, (3, 32, 32), marks=pytest.mark.slow),
        pytest.param(
            "shufflenet_v2", {"classes": 10, "small_input": True}, (3, 32, 32), marks=pytest.mark.slow
        ),
    ],
)
def test_dead_channels_go_from_the_zoo(name: str, options: dict[str, object], size: tuple[int, ...]) -> None:
    program = Program.capture(models.find(name)(**options), (torch.randn(2, *size),))
    pruned, _ = assert_dead_channels_go(program)
    assert cost.measure(pruned).macs < 0.75 * cost.measure(program).macs


def test_every_channel_of_shufflenet_is_free_and_its_shuffles_vanish() -> None:
    module = models.find("shufflenet_v2")(width=0.5, classes=10, small_input=True)
    program = Program.capture(module, (torch.randn(2, 3, 32, 32),))
    structure = read_structure(program)
    assert set(reasons_to_stay(structure)) == {"fc"}
    pruned, _ = assert_dead_channels_go(program)
    left = {graph.op_name(node) for node in graph.operators(pruned.graph_module())}
    assert not left & {"transpose", "permute", "view", "reshape", "index_select", "chunk"}

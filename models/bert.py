"""BERT (Devlin et al., 2018), an encoder of text, in the small size of Turc et al. (2019)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from edgepress.errors import BadOption
from edgepress.models._card import Card, card
from edgepress.models._layers import Count
from edgepress.signature import TensorSpec

LENGTH = 128
POSITIONS, SEGMENTS = 512, 2
EPSILON = 1e-12
"""What the published weights were trained with, for layer norms."""
PREFIX = "bert."


@card(
    Card(
        paper="Turc et al., Well-Read Students Learn Better: On the Importance of Pre-training Compact Models, 2019 "
        "(arXiv:1908.08962), after Devlin et al., NAACL 2019 (arXiv:1810.04805)",
        task="sequence",
        parameters=28_763_648,
        macs=1_677_983_744,
        dataset="Wikipedia and BookCorpus",
        source="BERT-Small, 28.8 M parameters in the authors' table of models; exact counts of its released weights, "
        "whose names these are",
        preprocess=None,
        inputs=(
            TensorSpec("tokens", (None, LENGTH), "int64"),
            TensorSpec("mask", (None, LENGTH), "int64"),
            TensorSpec("segments", (None, LENGTH), "int64"),
        ),
    )
)
def bert_small(
    *, vocabulary: Count = 30_522, layers: Count = 4, hidden: Count = 512, heads: Count = 8
) -> nn.Module:
    """BERT-Small: four layers of eight heads, 512 channels."""
    if hidden % heads:
        raise BadOption(
            f"{heads} heads do not divide {hidden} channels.", hint="hidden is a multiple of heads"
        )
    return Bert(vocabulary, layers, hidden, heads)


class Bert(nn.Module):
    """int64 tokens, mask (0 where there is none) and segments (0 or 1), each N x length, to what every token gives
    (N x length x hidden) and what the first one says of all (N x hidden)."""

    def __init__(self, vocabulary: int, layers: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, hidden)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(hidden, heads) for _ in range(layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.embeddings(tokens, segments)
        is_seen = (mask != 0)[:, None, None, :]
        for layer in self.encoder["layer"].children():
            features = layer(features, is_seen)
        return features, torch.tanh(self.pooler["dense"](features[:, 0]))

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` of the released checkpoints, without the heads that they were trained with."""
        if not any(name.startswith(PREFIX) for name in state):
            return dict(state)
        return {
            name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)
        }


class Embeddings(nn.Module):
    """Tokens, places and segments, added and normalised."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, hidden)
        self.position_embeddings = nn.Embedding(POSITIONS, hidden)
        self.token_type_embeddings = nn.Embedding(SEGMENTS, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=EPSILON)
        self.dropout = nn.Dropout(0.1)

    def forward(self, tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        places = self.position_embeddings.weight[: tokens.shape[1]]
        total = self.word_embeddings(tokens) + self.token_type_embeddings(segments) + places
        features: torch.Tensor = self.dropout(self.LayerNorm(total))
        return features


class Layer(nn.Module):
    """Attention, then two linear layers, each beside a shortcut and normalised afterwards."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(hidden, heads), "output": Output(hidden, hidden)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, 4 * hidden)})
        self.output = Output(4 * hidden, hidden)
        self.activation = nn.GELU()

    def forward(self, features: torch.Tensor, is_seen: torch.Tensor) -> torch.Tensor:
        seen = self.attention["self"](features, is_seen)
        features = self.attention["output"](seen, features)
        wide = self.activation(self.intermediate["dense"](features))
        output: torch.Tensor = self.output(wide, features)
        return output


class SelfAttention(nn.Module):
    """N x length x hidden, of every token from all that are seen, in several heads."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, features: torch.Tensor, is_seen: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(features).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=is_seen)
        return seen.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear layer added to a shortcut and normalised."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=EPSILON)
        self.dropout = nn.Dropout(0.1)

    def forward(self, features: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.LayerNorm(self.dropout(self.dense(features)) + shortcut)
        return output

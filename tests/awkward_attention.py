"""Trouble with attention: heads that go whole, in all the ways in which they are set apart and joined again."""

from __future__ import annotations

import torch
from awkward_parts import PICTURE, Classifier, conv, network
from torch import Tensor, nn
from torch.nn import functional

TOKENS = (6, 12)


class _Attention(nn.Module):
    """Query, key and value by layers of their own, three heads of four; the residual and a classifier behind."""

    def __init__(self, queries: int = 12, keys: int = 12) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(12, queries), nn.Linear(12, keys), nn.Linear(12, keys)
        self.out, self.head = nn.Linear(queries, 12), nn.Linear(12, 4)

    def mixed(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x + self.out(self.mixed(x))).mean(1))


@network(TOKENS)
class SeparateHeads(_Attention):
    def mixed(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).view(-1, 6, 3, 4).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return found.transpose(1, 2).reshape(x.shape[0], 6, 12)


@network(TOKENS)
class HandWrittenHeads(_Attention):
    """softmax(q k) v in single operators, with a mask for all heads and a bias for each."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((6, 6), -9.0).triu(1))
        self.bias = nn.Parameter(torch.randn(1, 3, 1, 1))

    def mixed(self, x: Tensor) -> Tensor:
        size = x.shape[0], 6, 3, 4
        query, key = self.query(x).view(size).permute(0, 2, 1, 3), self.key(x).view(size).permute(0, 2, 3, 1)
        weights = torch.softmax(query @ key / 2 * self.bias + self.mask, -1)
        return (weights @ self.value(x).view(size).transpose(1, 2)).permute(0, 2, 1, 3).flatten(2)


@network(TOKENS)
class EinsumHeads(_Attention):
    def mixed(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).unflatten(-1, (3, 4)) for layer in (self.query, self.key, self.value))
        weights = torch.einsum("bihd,bjhd->bhij", query, key).softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", weights, value).flatten(2)


@network(TOKENS)
class GroupedQueries(_Attention):
    """Every head of key and value serves two of the query."""

    def __init__(self) -> None:
        super().__init__(24)

    def mixed(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return (
            functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
            .transpose(1, 2)
            .flatten(2)
        )


@network(TOKENS)
class RepeatedKeys(GroupedQueries):
    """The same, with the heads of the key repeated and those of the value expanded."""

    def mixed(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        key = key.repeat_interleave(2, 1)
        value = value[:, :, None].expand(-1, 3, 2, 6, 4).reshape(-1, 6, 6, 4)
        return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


@network(TOKENS)
class OneKey(_Attention):
    """All heads of the query share one key and one value: no head can go without them, but parts of all can."""

    def __init__(self) -> None:
        super().__init__(24, 8)

    def mixed(self, x: Tensor) -> Tensor:
        query = self.query(x).view(-1, 6, 3, 8).transpose(1, 2)
        key, value = self.key(x).unsqueeze(1), self.value(x).unsqueeze(1)
        return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class _Packed(nn.Module):
    """One layer for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(12, 36), nn.Linear(12, 12), nn.Linear(12, 4)

    def parts(self, packed: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.parts(self.qkv(x))
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.head((x + self.out(found.transpose(1, 2).flatten(2))).mean(1))


@network(TOKENS)
class PackedHeads(_Packed):
    def parts(self, packed: Tensor) -> tuple[Tensor, ...]:
        return packed.reshape(-1, 6, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)


@network(TOKENS)
class ChunkedHeads(_Packed):
    def parts(self, packed: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.view(-1, 6, 3, 4).transpose(1, 2) for part in packed.chunk(3, -1))


@network(TOKENS)
class HeadsApart(_Packed):
    """Query, key and value of a head are neighbours, and the heads come one after another."""

    def parts(self, packed: Tensor) -> tuple[Tensor, ...]:
        return packed.unflatten(-1, (3, 12)).transpose(1, 2).split(4, -1)


@network(TOKENS)
class MultiheadModule(nn.Module):
    """PyTorch's own module folds the heads into the batch, with the batch on the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(12, 3, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


@network(TOKENS)
class MultiheadWeights(MultiheadModule):
    """The same, which also returns the mean of the heads' weights."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found, weights = self.attention(x, x, x)
        return self.head((x + found).mean(1)), weights


@network(TOKENS, TOKENS)
class Decoder(nn.Module):
    """Attention to another sequence: its one weight is cut in three in the forward, and so stays."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerDecoderLayer(12, 3, 24, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.head(self.layer(x, memory).mean(1))


@network((6,))
class Bert(nn.Module):
    """Word and position embeddings, a layer norm, an encoder block with its norms behind, and a pooler."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.norm = nn.Embedding(20, 12), nn.Embedding(6, 12), nn.LayerNorm(12)
        self.query, self.key, self.value, self.out = (nn.Linear(12, 12) for _ in range(4))
        self.wide, self.narrow = nn.Linear(12, 24), nn.Linear(24, 12)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(2))
        self.pooler, self.head = nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(6)
        x = self.norm(self.words((x.abs() * 7).long() % 20) + self.positions(places))
        query, key, value = (
            layer(x).view(-1, 6, 3, 4).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, 6, 12)
        x = self.norms[0](x + self.out(found))
        x = self.norms[1](x + self.narrow(functional.gelu(self.wide(x))))
        return self.head(torch.tanh(self.pooler(x[:, 0])))


@network(PICTURE)
class VisionTransformer(nn.Module):
    """Patches, a class token, a position embedding, a block with its norms in front and a gated perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 5, 12))
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.qkv, self.out, self.scale = nn.Linear(12, 36), nn.Linear(12, 12), nn.Parameter(torch.rand(12))
        self.gate, self.wide, self.narrow = nn.Linear(12, 24), nn.Linear(12, 24), nn.Linear(24, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        packed = self.qkv(self.norms[0](x)).reshape(x.shape[0], 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(packed[0], packed[1], packed[2])
        x = x + self.scale * self.out(found.transpose(1, 2).flatten(2))
        y = self.norms[1](x)
        x = x + self.narrow(functional.silu(self.gate(y)) * self.wide(y))
        return self.head(self.norms[2](x)[:, 0])


@network((4, 4, 12))
class Windows(nn.Module):
    """Attention within windows that are folded into the batch; a table of position biases, one for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out, self.head = nn.Linear(12, 36), nn.Linear(12, 12), nn.Linear(12, 4)
        self.table = nn.Parameter(torch.randn(9, 3))
        places = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]) + 1
        self.register_buffer("index", apart[0] * 3 + apart[1])

    def forward(self, x: Tensor) -> Tensor:
        windows = x.view(-1, 2, 2, 2, 2, 12).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 12)
        query, key, value = self.qkv(windows).reshape(-1, 4, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(4, 4, 3).permute(2, 0, 1).contiguous()
        weights = ((query * 0.5) @ key.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1)
        windows = windows + self.out((weights @ value).transpose(1, 2).reshape(-1, 4, 12))
        x = windows.view(-1, 2, 2, 2, 2, 12).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 12)
        return self.head(x.mean(1))


@network(PICTURE)
class NonLocal(Classifier):
    """Every pixel attends to all others, in one head, on channels made by convolutions."""

    def __init__(self) -> None:
        super().__init__(16)
        self.query, self.key, self.value = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1), nn.Conv2d(16, 12, 1)
        self.out = nn.Conv2d(12, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.bmm(query.transpose(1, 2), key).softmax(-1)
        return x + self.out(torch.bmm(value, weights.transpose(1, 2)).view(-1, 12, 8, 8))


@network(PICTURE)
class ChannelAttention(Classifier):
    """Every channel attends to all others, so that each meets each."""

    def __init__(self) -> None:
        super().__init__(12)
        self.conv = conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        rows = self.conv(x).flatten(2)
        return (torch.bmm(rows, rows.transpose(1, 2)).softmax(-1) @ rows).view(-1, 12, 8, 8)

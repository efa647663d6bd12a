"""Translation by an encoder, and a decoder that looks back at all of its states (Bahdanau, Cho, Bengio, 2014)."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count
from edgepress.signature import TensorSpec

PAPER = (
    "Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and Translate, ICLR 2015 "
    "(arXiv:1409.0473)"
)
SOURCE = (
    "the sizes of RNNsearch in the paper, appendix A (30,000 words, 620-dimensional embeddings, 1,000 units, 500 maxout "
    "units); it gives no counts, and BLEU (26.75 with sentences of up to 50 words) only of both halves together"
)
LENGTH = 50


def _card(parameters: int, macs: int, *inputs: TensorSpec) -> Card:
    return Card(
        paper=PAPER,
        task="sequence",
        parameters=parameters,
        macs=macs,
        dataset="WMT '14 English-French",
        source=SOURCE,
        preprocess=None,
        inputs=inputs,
    )


@card(_card(29_333_000, 487_000_000, TensorSpec("tokens", (None, LENGTH), "int64")))
def seq2seq_encoder(*, vocabulary: Count = 30_000, embedding: Count = 620, hidden: Count = 1000) -> nn.Module:
    """RNNsearch's encoder: gated recurrent units in both directions."""
    return Encoder(vocabulary, embedding, hidden)


@card(
    _card(
        51_119_000,
        130_630_000,
        TensorSpec("token", (None, 1), "int64"),
        TensorSpec("state", (None, 1000)),
        TensorSpec("annotations", (None, LENGTH, 2000)),
    )
)
def seq2seq_step(
    *, vocabulary: Count = 30_000, embedding: Count = 620, hidden: Count = 1000, maxout: Count = 500
) -> nn.Module:
    """One step of RNNsearch's decoder, with attention; called again for every word it gives."""
    return DecoderStep(vocabulary, embedding, hidden, maxout)


class Encoder(nn.Module):
    """int64 N x length tokens to N x length x 2 hidden annotations and the decoder's first state, N x hidden."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.recurrent = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.first = nn.Linear(hidden, hidden)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        annotations, _ = self.recurrent(self.embedding(tokens))
        return annotations, torch.tanh(self.first(annotations[:, 0, self.hidden :]))


class DecoderStep(nn.Module):
    """The last token (int64 N x 1), the state (N x hidden) and the encoder's annotations (N x length x 2 hidden) to
    logits (N x vocabulary), the next state, and how much each annotation counted (N x length)."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int, maxout: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.from_state = nn.Linear(hidden, hidden, bias=False)
        self.from_annotations = nn.Linear(2 * hidden, hidden)
        self.energy = nn.Linear(hidden, 1, bias=False)
        self.recurrent = nn.GRU(embedding + 2 * hidden, hidden, batch_first=True)
        self.deep = nn.Linear(hidden + embedding + 2 * hidden, 2 * maxout)
        self.pool = nn.MaxPool1d(2)
        self.fc = nn.Linear(maxout, vocabulary)

    def forward(
        self, token: torch.Tensor, state: torch.Tensor, annotations: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        word = self.embedding(token)
        known = self.from_state(state).unsqueeze(1) + self.from_annotations(annotations)
        weights = torch.softmax(self.energy(torch.tanh(known)).squeeze(2), dim=1)
        context = torch.bmm(weights.unsqueeze(1), annotations)
        seen = torch.cat((word, context), dim=2)
        following, _ = self.recurrent(seen, state.unsqueeze(0))
        deep = self.deep(torch.cat((state.unsqueeze(1), seen), dim=2))
        logits = self.fc(self.pool(deep))
        return logits.squeeze(1), following.squeeze(1), weights

"""Classifiers of token sequences: LSTM (Hochreiter, Schmidhuber, 1997), GRU (Cho et al., 2014), and both directions."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count
from edgepress.signature import TensorSpec

TOKENS = (TensorSpec("tokens", (None, 128), "int64"),)
SOURCE = "counts of the sizes in use for IMDB reviews, 20,000 words, 128 units; the paper's own networks are far smaller"


def _card(paper: str, parameters: int, macs: int) -> Card:
    return Card(
        paper=paper,
        task="sequence",
        parameters=parameters,
        macs=macs,
        dataset="IMDB",
        source=SOURCE,
        preprocess=None,
        inputs=TOKENS,
    )


@card(
    _card(
        "Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997", 2_692_354, 16_777_472
    )
)
def lstm_classifier(
    *, classes: Count = 2, vocabulary: Count = 20_000, embedding: Count = 128, hidden: Count = 128
) -> nn.Module:
    """Embedded tokens through an LSTM, whose last state is classified."""
    return SequenceClassifier(nn.LSTM(embedding, hidden, batch_first=True), classes, vocabulary)


@card(
    _card(
        "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, "
        "EMNLP 2014 (arXiv:1406.1078)",
        2_659_330,
        12_583_168,
    )
)
def gru_classifier(
    *, classes: Count = 2, vocabulary: Count = 20_000, embedding: Count = 128, hidden: Count = 128
) -> nn.Module:
    """Embedded tokens through gated recurrent units, whose last state is classified."""
    return SequenceClassifier(nn.GRU(embedding, hidden, batch_first=True), classes, vocabulary)


@card(
    _card(
        "Graves and Schmidhuber, Framewise Phoneme Classification with Bidirectional LSTM and Other Neural Network "
        "Architectures, Neural Networks 2005",
        2_758_914,
        25_166_080,
    )
)
def bilstm_classifier(
    *, classes: Count = 2, vocabulary: Count = 20_000, embedding: Count = 128, hidden: Count = 64
) -> nn.Module:
    """Embedded tokens through two layers of LSTM in both directions, whose last states are classified."""
    recurrent = nn.LSTM(embedding, hidden, num_layers=2, batch_first=True, bidirectional=True)
    return SequenceClassifier(recurrent, classes, vocabulary)


class SequenceClassifier(nn.Module):
    """int64 N x length tokens to N x classes logits, from where each direction of the last layer ends."""

    def __init__(self, recurrent: nn.LSTM | nn.GRU, classes: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, recurrent.input_size)
        self.recurrent = recurrent
        directions = 2 if recurrent.bidirectional else 1
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(directions * recurrent.hidden_size, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(self.embedding(tokens))
        size = self.recurrent.hidden_size
        last = states[:, -1, :size]
        if self.recurrent.bidirectional:
            last = torch.cat((last, states[:, 0, size:]), dim=1)
        logits: torch.Tensor = self.fc(self.dropout(last))
        return logits

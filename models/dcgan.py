"""DCGAN's generator (Radford, Metz, Chintala, 2015): pictures from noise by transposed convolutions."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, Factor, scaled
from edgepress.signature import TensorSpec

CHANNELS = (512, 256, 128, 64)


@card(
    Card(
        paper="Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial "
        "Networks, ICLR 2016 (arXiv:1511.06434)",
        task="generation",
        parameters=3_576_704,
        macs=104_628_224,
        dataset="LSUN bedrooms",
        source="exact counts of the generator in PyTorch's examples, whose parameter names these are; the paper gives none",
        preprocess=None,
        inputs=(TensorSpec("noise", (None, 100, 1, 1)),),
    )
)
def dcgan_generator(*, noise: Count = 100, channels: Count = 3, width: Factor = 1.0) -> nn.Module:
    """DCGAN's generator of 64 x 64 pictures."""
    return Generator(noise, channels, width)


class Generator(nn.Module):
    """N x noise x 1 x 1 normal numbers to N x channels x 64 x 64 pictures between -1 and 1."""

    def __init__(self, noise: int, channels: int, width: float) -> None:
        super().__init__()
        inner = [scaled(count, width) for count in CHANNELS]
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((noise, *inner), inner, strict=False)):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(inner[-1], channels, 4, 2, 1, bias=False)
        self.main = nn.Sequential(*layers, last, nn.Tanh())
        for module in self.main:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        pictures: torch.Tensor = self.main(noise)
        return pictures

"""Train the network as it will be once quantized, with the steps between its integers learned; best for few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch.fx import GraphModule

from edgepress.compress._low_bit.binary import DoReFa
from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._quantization.few_bits import FULL
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.training import FewBits, QuantizedTraining

MOST_BITS_OF_DOREFA = 6
"""Odd integers of more bits, of neighbouring weights, leave no headroom."""


@dataclass(frozen=True, kw_only=True)
class QuantizeAware(QuantizedTraining):
    """Esser et al. (2020), Learned Step Size Quantization. What comes out is what quantize_static makes: int8 weights
    with a scale for each channel, and pairs of nodes on the activations, with shared scales where int8 needs them.

    All options of distill, so that by default the float network before compression is the teacher; `teacher=none` trains
    on the labels alone. And

    weight_bits, activation_bits: stored in bytes all the same (convert to .epz for files of as many bits). Few bits
        are for activations that are never negative, as behind a ReLU, and not averaged without a scale of its own; others
        keep 8. They end where int8 ends, which a backend with activations symmetric about
        zero (TensorRT, ncnn) cannot follow: ncnn's converter refuses them, of TensorRT's files verification says so.
    method: what weights are. lsq: integers with a learned step. dorefa: odd integers of 1 to 6 bits, evenly spaced in
        the tanh of the weight, with a scale that follows it (Zhou et al., 2016, DoReFa-Net); for 7 and 8 bits, lsq. A
        single bit is always DoReFa's, for integers would be zero.
    low_ends: whether the first and last layers get few bits as well, which costs much accuracy and saves little.
    calibration, samples: how many calibration samples the first steps come from, and how (see quantize_static).
    headroom: as in quantize_static; it is kept by giving the weights of such layers 7 bits.

    Batch norms are folded before the training, with the statistics they have: then exactly that is trained which
    will be executed (static folding; Nagel et al., 2021, A White Paper on Neural Network Quantization, section 5.2).
    Layers whose weights are not LSQ's train with a batch norm of their own behind them, which begins at the mean and
    deviation that their channels had in float and is folded into scales and biases in the end.

    Rules can set the bits and the method for single layers (activation_bits: of what the layer makes); one with
    `skip` keeps a layer in float.
    """

    per_layer = frozenset({"weight_bits", "activation_bits", "method"})

    weight_bits: FewBits = FULL
    method: Literal["lsq", "dorefa"] = "lsq"

    def bits_of_weight(self) -> int:
        return self.weight_bits

    def form(self, graph_module: GraphModule, layer: Layer) -> WeightForm | None:
        is_dorefa = self.method == "dorefa" and self.weight_bits <= MOST_BITS_OF_DOREFA
        return DoReFa(self.weight_bits) if is_dorefa or self.weight_bits == 1 else None

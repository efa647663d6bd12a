"""Every network of the zoo that is no classifier, small enough to run in a test: `import small_tasks`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from edgepress import models
from edgepress.program import Program


@dataclass(frozen=True)
class Small:
    """The shape of one sample of the only input, where it is not the card's, and options of the network."""

    shape: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


NARROW = {"width": 0.125}
SMALL: dict[str, Small] = {
    "bert_small": Small(options={"vocabulary": 100, "layers": 2, "hidden": 64}),
    "bilstm_classifier": Small((12,), {"vocabulary": 100, "hidden": 32}),
    "dcgan_generator": Small(options=NARROW),
    "deeplab_v1": Small((3, 64, 64), NARROW),
    "deeplab_v2": Small((3, 64, 64), NARROW),
    "deeplab_v3": Small((3, 64, 64), NARROW),
    "dssd321": Small(options=NARROW),
    "faster_rcnn_resnet50_fpn": Small((3, 128, 128), NARROW | {"size": 128, "proposals": 20, "classes": 5}),
    "fcn32s": Small((3, 64, 64), NARROW),
    "fcn8s": Small((3, 64, 64), NARROW),
    "gru_classifier": Small((12,), {"vocabulary": 100}),
    "lstm_classifier": Small((12,), {"vocabulary": 100}),
    "mask_rcnn_resnet50_fpn": Small((3, 128, 128), NARROW | {"size": 128, "proposals": 12, "classes": 5}),
    "pspnet": Small((3, 89, 89), NARROW),
    "refinenet": Small((3, 64, 64), NARROW),
    "retinanet_resnet50_fpn": Small((3, 128, 128), NARROW | {"size": 128, "classes": 5}),
    "rfcn_resnet101": Small((3, 128, 128), NARROW | {"size": 128, "proposals": 20, "classes": 5}),
    "segnet": Small((3, 60, 64), NARROW),
    "seq2seq_encoder": Small((12,), {"vocabulary": 100, "embedding": 32, "hidden": 64}),
    "seq2seq_step": Small(options={"vocabulary": 100, "embedding": 32}),
    "ssd300": Small(options=NARROW | {"classes": 5}),
    "ssdlite_mobilenet_v2": Small((3, 96, 96), NARROW | {"size": 96, "classes": 5}),
    "unet": Small((1, 188, 188), NARROW),
    "yolov2": Small((3, 96, 96), NARROW | {"size": 96, "classes": 5}),
    "yolov3": Small((3, 96, 96), NARROW | {"size": 96, "classes": 5}),
    "yolov3_tiny": Small((3, 96, 96), {"width": 0.5, "size": 96, "classes": 5}),
}


def inputs(name: str, batch: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random pictures or features, and small whole numbers for what is counted."""
    card, small = models.card_of(name), SMALL[name]
    shapes = card.input_shapes() if small.shape is None else (small.shape,)
    dtypes = [spec.dtype for spec in card.inputs] or ["float32"]
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, *shape, generator=generator)
        if dtype == "float32"
        else torch.randint(0, 2, (batch, *shape), generator=generator, dtype=getattr(torch, dtype))
        for shape, dtype in zip(shapes, dtypes, strict=True)
    )


@functools.cache
def captured(name: str) -> tuple[torch.nn.Module, Program]:
    """The module in evaluation mode and its capture; no test changes either."""
    torch.manual_seed(0)
    network = models.find(name)(**SMALL[name].options).eval()
    return network, Program.capture(network, inputs(name, 2))

"""What each format's runtime makes of a quantized network: the one table of it.

Converters refuse by it before any work, `edgepress inspect` and `edgepress forms` print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from edgepress.errors import UnsupportedModel
from edgepress.quantized_form import Activations, QuantizedForm

How = Literal["integers", "floats", "nothing"]
"""What a runtime computes in: integers; floats, though the file holds integers; or the format does not take it."""


@dataclass(frozen=True)
class Taken:
    """`how` a runtime takes one form, and what there is to `say` of it: of "nothing" the reason, as a sentence."""

    how: How
    say: str = ""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One format on its runtime.

    `activations` are the type of quantized activations, `symmetric` whether about zero; `weights` say which axes have
    scales of their own; `pairs` how the runtime wants quantization around additions, concatenations and activations.
    `forms` say by the activations how a network is taken; `groups` the same of several scales an output; `four_bits`
    how 4-bit weights are stored.
    """

    runtime: str
    activations: str
    symmetric: bool
    weights: str
    pairs: str
    forms: Mapping[Activations, Taken]
    groups: Taken
    four_bits: str

    def taken(self, form: QuantizedForm) -> Taken:
        """How a network of this form is taken: as its weights' groups allow, then as its activations."""
        if form.grouped and self.groups.how == "nothing":
            return self.groups
        return self.forms[form.activations]


PER_OUTPUT = "one scale an output channel"
EVERYWHERE = "each tensor once, behind the activation that is fused; both inputs of an addition and its result; one scale for all parts of a concatenation"
LAYERS_ONLY = "around layers with weights; additions, concatenations and pooling are float"
BYTES = "bytes"

NO_CALIBRATION = "Its converter takes activations with calibrated ranges only."
NO_STORED = "Its converter reads no integer weights between float activations."
NO_16 = "Its kernels have activations of 8 bits only."
NO_GROUPS = "Its kernels have one scale an output channel."
NOT_AT_ALL = Taken("nothing", "x2paddle reads no quantized network.")


def _forms(int8: Taken, int16: Taken, dynamic: Taken, stored: Taken) -> Mapping[Activations, Taken]:
    return MappingProxyType({"int8": int8, "int16": int16, "dynamic": dynamic, "float": stored})


INTEGERS = Taken("integers")
REFUSING = _forms(
    INTEGERS, Taken("nothing", NO_16), Taken("nothing", NO_CALIBRATION), Taken("nothing", NO_STORED)
)

FITS: Mapping[str, Fit] = MappingProxyType(
    {
        "onnx": Fit(
            runtime="ONNX Runtime",
            activations="uint8",
            symmetric=False,
            weights=PER_OUTPUT,
            pairs=EVERYWHERE,
            forms=_forms(
                INTEGERS,
                Taken("floats", "It has no kernels for activations of 16 bits and computes between them in float."),
                Taken("integers", "Convolutions gain little: their kernel is no faster than the float one."),
                Taken("floats", "It widens weights at every run, but for those of linear layers: see groups."),
            ),
            groups=Taken(
                "integers",
                "Groups of 16, 32, 64, 128 or 256 inputs meet a kernel that rounds what it reads to 8 bits, unless "
                "session.qdq_matmulnbits_accuracy_level is 1; others are widened at every run.",
            ),
            four_bits="packed; those of 2 bits four in a byte",
        ),
        "tflite": Fit(
            runtime="LiteRT",
            activations="int8, int16",
            symmetric=False,
            weights=f"{PER_OUTPUT}, the last axis of a depthwise kernel",
            pairs=EVERYWHERE,
            forms=_forms(
                INTEGERS,
                Taken("integers", "Reference kernels, slower than float: for hardware that has 16 x 8 bits."),
                INTEGERS,
                Taken("floats", "It widens weights once, when the file is loaded."),
            ),
            groups=Taken("nothing", NO_GROUPS),
            four_bits="packed, and 2 bits as 4, for its convolutions refuse int2 (LiteRT 2.3); those of depthwise layers in bytes where activations are dynamic, all where these have one bit",
        ),
        "ncnn": Fit(
            runtime="ncnn", activations="int8", symmetric=False, weights=PER_OUTPUT, pairs=LAYERS_ONLY,
            forms=REFUSING, groups=Taken("nothing", NO_GROUPS), four_bits=BYTES,
        ),
        "mnn": Fit(
            runtime="MNN", activations="int8", symmetric=False, weights=PER_OUTPUT, pairs=LAYERS_ONLY,
            forms=REFUSING, groups=Taken("nothing", NO_GROUPS), four_bits=BYTES,
        ),
        "openvino": Fit(
            runtime="OpenVINO", activations="uint8", symmetric=False, weights=PER_OUTPUT, pairs=EVERYWHERE,
            forms=_forms(
                INTEGERS, Taken("nothing", NO_16),
                Taken("floats", "It rounds activations as the network does, and multiplies floats."), Taken("floats"),
            ),
            groups=Taken("floats"), four_bits=BYTES,
        ),
        "pte": Fit(
            runtime="ExecuTorch (XNNPACK)", activations="int8", symmetric=False, weights=PER_OUTPUT,
            pairs="each tensor once for every operator that reads it, behind the activation that is fused",
            forms=REFUSING, groups=Taken("nothing", NO_GROUPS), four_bits=BYTES,
        ),
        "coreml": Fit(
            runtime="Core ML", activations="int8", symmetric=False, weights=PER_OUTPUT, pairs=EVERYWHERE,
            forms=REFUSING, groups=Taken("nothing", NO_GROUPS), four_bits=BYTES,
        ),
        "tensorrt": Fit(
            runtime="TensorRT", activations="int8", symmetric=True, weights=PER_OUTPUT, pairs=EVERYWHERE,
            forms=REFUSING, groups=Taken("nothing", NO_GROUPS), four_bits=BYTES,
        ),
        "paddle": Fit(
            runtime="Paddle", activations="none", symmetric=False, weights="none", pairs="none",
            forms=_forms(NOT_AT_ALL, NOT_AT_ALL, NOT_AT_ALL, NOT_AT_ALL), groups=NOT_AT_ALL, four_bits="none",
        ),
        "epz": Fit(
            runtime="PyTorch", activations="int8, int16", symmetric=False, weights=f"{PER_OUTPUT}, or a group",
            pairs="as in the network: PyTorch computes in float between them",
            forms=_forms(*[Taken("floats", "PyTorch emulates integers.")] * 4),
            groups=Taken("floats", "PyTorch emulates integers."), four_bits="coded: at most 4 bits",
        ),
    }
)  # fmt: skip
"""By format. What an ONNX file becomes further on is said of the format that it becomes."""


def refuse_unfit(form: QuantizedForm | None, format: str) -> None:
    """Raise UnsupportedModel, with the reason and the way out, where `format` does not take networks of this form."""
    fit = FITS.get(format)
    if form is None or fit is None:
        return
    taken = fit.taken(form)
    if taken.how == "nothing":
        raise UnsupportedModel(
            f"{fit.runtime} takes no {form.name} network. {taken.say}",
            where=f"--to {format}",
            hint=f"convert the float network, or to {_takers(form)} (edgepress forms lists what each takes)",
        )


def _takers(form: QuantizedForm) -> str:
    return " or ".join(name for name, fit in FITS.items() if fit.taken(form).how != "nothing")

"""Finds the layers of what XNNPACK executes: it names its kernels after what they do, not after whom they do it for.

Both the file's operators and the kernels stand in execution order, so the longest common subsequence tells which
belong together; what a kernel takes along (a padding, an activation) has none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

KERNELS: Mapping[str, tuple[str, ...]] = {
    "Convolution": ("conv",),
    "Deconvolution": ("transposeconv", "convtranspose", "conv"),
    "Fully Connected": ("fullyconnected", "linear", "addmm", "conv"),
    "Batch Matrix Multiply": ("batchmatmul", "matmul", "bmm", "scaleddotproduct"),
    "Max Pooling": ("maxpool",),
    "Average Pooling": ("averagepool", "avgpool", "adaptiveavgpool", "mean"),
    "Global Average Pooling": ("averagepool", "avgpool", "adaptiveavgpool", "mean"),
    "Mean": ("mean", "averagepool", "avgpool", "adaptiveavgpool"),
    "Sum": ("sum",),
    "Add": ("add",),
    "Subtract": ("sub",),
    "Multiply": ("mul",),
    "Divide": ("div",),
    "Maximum": ("maximum",),
    "Minimum": ("minimum",),
    "Clamp": ("relu", "clamp", "hardtanh"),
    "HardSwish": ("hardswish",),
    "Leaky ReLU": ("leakyrelu",),
    "PReLU": ("prelu",),
    "ELU": ("elu",),
    "GELU": ("gelu",),
    "Sigmoid": ("logistic", "sigmoid"),
    "Tanh": ("tanh",),
    "Softmax": ("softmax",),
    "Concatenate": ("concatenation", "cat"),
    "Resize": ("resize", "upsample", "interpolate"),
    "Transpose": ("transpose", "permute"),
    "Static Reshape": ("reshape", "view", "flatten"),
    "Copy": ("reshape", "view", "flatten"),
    "Constant Pad": ("pad", "constantpad"),
    "Slice": ("slice", "stridedslice"),
}
"""By how a kernel's name begins: how the names of the operators begin that it may execute, TFLite's and ATen's, without
case and underscores. Any other begins as its operator does."""
HEAVY = ("Convolution", "Deconvolution", "Fully Connected")


def layers(kernels: Sequence[str], operators: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Of each kernel: the layer that it executes, of the operators' (layer, type) in execution order; empty where it has
    none. All are empty where a convolution or a product finds none: then the rest cannot be trusted either."""
    fits = [[_may_execute(kernel, kind) for _, kind in operators] for kernel in kernels]
    longest = [[0] * (len(operators) + 1) for _ in range(len(kernels) + 1)]
    for row in reversed(range(len(kernels))):
        for column in reversed(range(len(operators))):
            together = longest[row + 1][column + 1] + 1 if fits[row][column] else 0
            longest[row][column] = max(together, longest[row + 1][column], longest[row][column + 1])
    found: list[tuple[str, ...]] = [()] * len(kernels)
    row = column = 0
    while row < len(kernels) and column < len(operators):
        if fits[row][column] and longest[row][column] == longest[row + 1][column + 1] + 1:
            found[row] = (operators[column][0],)
            row, column = row + 1, column + 1
        elif longest[row][column] == longest[row][column + 1]:
            column += 1
        else:
            row += 1
    unnamed = [kernel for kernel, layer in zip(kernels, found, strict=True) if not layer]
    return ((),) * len(kernels) if any(kernel.startswith(HEAVY) for kernel in unnamed) else tuple(found)


def _may_execute(kernel: str, kind: str) -> bool:
    plain = kind.lower().replace("_", "")
    own = kernel.partition(" (")[0]
    begins = max((name for name in KERNELS if kernel.startswith(name)), key=len, default=own)
    return plain.startswith(KERNELS.get(begins, (own.lower().replace(" ", ""),))) or (
        plain.startswith("depthwiseconv") and "Conv" in kernel
    )

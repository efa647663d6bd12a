"""The state dicts of torchvision 0.20's classification networks, names and shapes, written out by their rules.

Each function gives name -> shape, without `num_batches_tracked`; channels and depths are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Layout = dict[str, tuple[int, ...]]


def conv(
    name: str, outputs: int, inputs: int, kernel: int | tuple[int, int], *, bias: bool = False
) -> Layout:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    return {f"{name}.weight": (outputs, inputs, *size)} | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name: str, channels: int) -> Layout:
    return {f"{name}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}


def linear(name: str, outputs: int, inputs: int) -> Layout:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def alexnet() -> Layout:
    made: Layout = {}
    for place, outputs, inputs, kernel in (
        (0, 64, 3, 11),
        (3, 192, 64, 5),
        (6, 384, 192, 3),
        (8, 256, 384, 3),
        (10, 256, 256, 3),
    ):
        made |= conv(f"features.{place}", outputs, inputs, kernel, bias=True)
    for place, outputs, inputs in ((1, 4096, 9216), (4, 4096, 4096), (6, 1000, 4096)):
        made |= linear(f"classifier.{place}", outputs, inputs)
    return made


def vgg16(*, with_norm: bool) -> Layout:
    made: Layout = {}
    place, inputs = 0, 3
    for outputs in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if not outputs:
            place += 1
            continue
        made |= conv(f"features.{place}", outputs, inputs, 3, bias=True)
        made |= norm(f"features.{place + 1}", outputs) if with_norm else {}
        place, inputs = place + (3 if with_norm else 2), outputs
    for place, outputs, inputs in ((0, 4096, 25088), (3, 4096, 4096), (6, 1000, 4096)):
        made |= linear(f"classifier.{place}", outputs, inputs)
    return made


def resnet(depths: Sequence[int], *, bottleneck: bool, groups: int = 1, group_width: int = 64) -> Layout:
    made = conv("conv1", 64, 3, 7) | norm("bn1", 64)
    inputs = 64
    for stage, depth in enumerate(depths, 1):
        planes = 32 * 2**stage
        outputs = planes * (4 if bottleneck else 1)
        inner = planes * group_width // 64 * groups
        for block in range(depth):
            name = f"layer{stage}.{block}"
            if bottleneck:
                made |= conv(f"{name}.conv1", inner, inputs, 1) | norm(f"{name}.bn1", inner)
                made |= conv(f"{name}.conv2", inner, inner // groups, 3) | norm(f"{name}.bn2", inner)
                made |= conv(f"{name}.conv3", outputs, inner, 1) | norm(f"{name}.bn3", outputs)
            else:
                made |= conv(f"{name}.conv1", planes, inputs, 3) | norm(f"{name}.bn1", planes)
                made |= conv(f"{name}.conv2", planes, planes, 3) | norm(f"{name}.bn2", planes)
            if block == 0 and (stage > 1 or bottleneck):
                made |= conv(f"{name}.downsample.0", outputs, inputs, 1) | norm(
                    f"{name}.downsample.1", outputs
                )
            inputs = outputs
    return made | linear("fc", 1000, inputs)


def densenet121() -> Layout:
    """As the published file has it: `norm.1` where the module of today says `norm1`."""
    made = conv("features.conv0", 64, 3, 7) | norm("features.norm0", 64)
    channels = 64
    for block, depth in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, depth + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            made |= norm(f"{name}.norm.1", channels) | conv(f"{name}.conv.1", 128, channels, 1)
            made |= norm(f"{name}.norm.2", 128) | conv(f"{name}.conv.2", 32, 128, 3)
            channels += 32
        if block < 4:
            made |= norm(f"features.transition{block}.norm", channels)
            made |= conv(f"features.transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    return made | norm("features.norm5", channels) | linear("classifier", 1000, channels)


def squeezenet1_1() -> Layout:
    made = conv("features.0", 64, 3, 3, bias=True)
    inputs = 64
    for place, squeeze, expand in (
        (3, 16, 64),
        (4, 16, 64),
        (6, 32, 128),
        (7, 32, 128),
        (9, 48, 192),
        (10, 48, 192),
        (11, 64, 256),
        (12, 64, 256),
    ):
        name = f"features.{place}"
        made |= conv(f"{name}.squeeze", squeeze, inputs, 1, bias=True)
        made |= conv(f"{name}.expand1x1", expand, squeeze, 1, bias=True)
        made |= conv(f"{name}.expand3x3", expand, squeeze, 3, bias=True)
        inputs = 2 * expand
    return made | conv("classifier.1", 1000, 512, 1, bias=True)


def googlenet() -> Layout:
    """With the two classifiers that are trained beside it."""

    def basic(name: str, outputs: int, inputs: int, kernel: int) -> Layout:
        return conv(f"{name}.conv", outputs, inputs, kernel) | norm(f"{name}.bn", outputs)

    made = basic("conv1", 64, 3, 7) | basic("conv2", 64, 64, 1) | basic("conv3", 192, 64, 3)
    inputs = 192
    for name, one, three_in, three, five_in, five, pool in (
        ("3a", 64, 96, 128, 16, 32, 32), ("3b", 128, 128, 192, 32, 96, 64), ("4a", 192, 96, 208, 16, 48, 64),
        ("4b", 160, 112, 224, 24, 64, 64), ("4c", 128, 128, 256, 24, 64, 64), ("4d", 112, 144, 288, 32, 64, 64),
        ("4e", 256, 160, 320, 32, 128, 128), ("5a", 256, 160, 320, 32, 128, 128), ("5b", 384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        block = f"inception{name}"
        made |= basic(f"{block}.branch1", one, inputs, 1)
        made |= basic(f"{block}.branch2.0", three_in, inputs, 1) | basic(
            f"{block}.branch2.1", three, three_in, 3
        )
        made |= basic(f"{block}.branch3.0", five_in, inputs, 1) | basic(
            f"{block}.branch3.1", five, five_in, 3
        )
        made |= basic(f"{block}.branch4.1", pool, inputs, 1)
        inputs = one + three + five + pool
    for name, channels in (("aux1", 512), ("aux2", 528)):
        made |= basic(f"{name}.conv", 128, channels, 1)
        made |= linear(f"{name}.fc1", 1024, 2048) | linear(f"{name}.fc2", 1000, 1024)
    return made | linear("fc", 1000, 1024)


def inception_v3() -> Layout:
    """With the classifier that is trained beside it."""
    made: Layout = {}
    for name, outputs, inputs, kernel in _inception_v3_convolutions():
        made |= conv(f"{name}.conv", outputs, inputs, kernel) | norm(f"{name}.bn", outputs)
    return made | linear("AuxLogits.fc", 1000, 768) | linear("fc", 1000, 2048)


def _inception_v3_convolutions() -> Iterator[tuple[str, int, int, int | tuple[int, int]]]:
    yield from (
        ("Conv2d_1a_3x3", 32, 3, 3), ("Conv2d_2a_3x3", 32, 32, 3), ("Conv2d_2b_3x3", 64, 32, 3),
        ("Conv2d_3b_1x1", 80, 64, 1), ("Conv2d_4a_3x3", 192, 80, 3),
    )  # fmt: skip
    for name, inputs, pool in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        yield f"{name}.branch1x1", 64, inputs, 1
        yield f"{name}.branch5x5_1", 48, inputs, 1
        yield f"{name}.branch5x5_2", 64, 48, 5
        yield f"{name}.branch3x3dbl_1", 64, inputs, 1
        yield f"{name}.branch3x3dbl_2", 96, 64, 3
        yield f"{name}.branch3x3dbl_3", 96, 96, 3
        yield f"{name}.branch_pool", pool, inputs, 1
    yield "Mixed_6a.branch3x3", 384, 288, 3
    yield "Mixed_6a.branch3x3dbl_1", 64, 288, 1
    yield "Mixed_6a.branch3x3dbl_2", 96, 64, 3
    yield "Mixed_6a.branch3x3dbl_3", 96, 96, 3
    wide, tall = (1, 7), (7, 1)
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        yield f"{name}.branch1x1", 192, 768, 1
        yield f"{name}.branch7x7_1", inner, 768, 1
        yield f"{name}.branch7x7_2", inner, inner, wide
        yield f"{name}.branch7x7_3", 192, inner, tall
        yield f"{name}.branch7x7dbl_1", inner, 768, 1
        for place, kernel in ((2, tall), (3, wide), (4, tall)):
            yield f"{name}.branch7x7dbl_{place}", inner, inner, kernel
        yield f"{name}.branch7x7dbl_5", 192, inner, wide
        yield f"{name}.branch_pool", 192, 768, 1
    yield "AuxLogits.conv0", 128, 768, 1
    yield "AuxLogits.conv1", 768, 128, 5
    yield "Mixed_7a.branch3x3_1", 192, 768, 1
    yield "Mixed_7a.branch3x3_2", 320, 192, 3
    yield "Mixed_7a.branch7x7x3_1", 192, 768, 1
    yield "Mixed_7a.branch7x7x3_2", 192, 192, wide
    yield "Mixed_7a.branch7x7x3_3", 192, 192, tall
    yield "Mixed_7a.branch7x7x3_4", 192, 192, 3
    for name, inputs in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        yield f"{name}.branch1x1", 320, inputs, 1
        yield f"{name}.branch3x3_1", 384, inputs, 1
        yield f"{name}.branch3x3_2a", 384, 384, (1, 3)
        yield f"{name}.branch3x3_2b", 384, 384, (3, 1)
        yield f"{name}.branch3x3dbl_1", 448, inputs, 1
        yield f"{name}.branch3x3dbl_2", 384, 448, 3
        yield f"{name}.branch3x3dbl_3a", 384, 384, (1, 3)
        yield f"{name}.branch3x3dbl_3b", 384, 384, (3, 1)
        yield f"{name}.branch_pool", 192, inputs, 1


def mobilenet_v2() -> Layout:
    made = conv("features.0.0", 32, 3, 3) | norm("features.0.1", 32)
    inputs, place = 32, 1
    for factor, outputs, repeats in (
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ):
        for _ in range(repeats):
            inner, name = inputs * factor, f"features.{place}.conv"
            at = 0
            if factor > 1:
                made |= conv(f"{name}.0.0", inner, inputs, 1) | norm(f"{name}.0.1", inner)
                at = 1
            made |= conv(f"{name}.{at}.0", inner, 1, 3) | norm(f"{name}.{at}.1", inner)
            made |= conv(f"{name}.{at + 1}", outputs, inner, 1) | norm(f"{name}.{at + 2}", outputs)
            inputs, place = outputs, place + 1
    return (
        made
        | conv("features.18.0", 1280, 320, 1)
        | norm("features.18.1", 1280)
        | linear("classifier.1", 1000, 1280)
    )


def mobilenet_v3_small() -> Layout:
    made = conv("features.0.0", 16, 3, 3) | norm("features.0.1", 16)
    inputs = 16
    for place, (kernel, inner, outputs, squeeze) in enumerate(
        (
            (3, 16, 16, 8), (3, 72, 24, 0), (3, 88, 24, 0), (5, 96, 40, 24), (5, 240, 40, 64), (5, 240, 40, 64),
            (5, 120, 48, 32), (5, 144, 48, 40), (5, 288, 96, 72), (5, 576, 96, 144), (5, 576, 96, 144),
        ), 1,
    ):  # fmt: skip
        name, at = f"features.{place}.block", 0
        if inner != inputs:
            made |= conv(f"{name}.0.0", inner, inputs, 1) | norm(f"{name}.0.1", inner)
            at = 1
        made |= conv(f"{name}.{at}.0", inner, 1, kernel) | norm(f"{name}.{at}.1", inner)
        if squeeze:
            at += 1
            made |= conv(f"{name}.{at}.fc1", squeeze, inner, 1, bias=True)
            made |= conv(f"{name}.{at}.fc2", inner, squeeze, 1, bias=True)
        made |= conv(f"{name}.{at + 1}.0", outputs, inner, 1) | norm(f"{name}.{at + 1}.1", outputs)
        inputs = outputs
    made |= conv("features.12.0", 576, 96, 1) | norm("features.12.1", 576)
    return made | linear("classifier.0", 1024, 576) | linear("classifier.3", 1000, 1024)


def shufflenet_v2() -> Layout:
    made = conv("conv1.0", 24, 3, 3) | norm("conv1.1", 24)
    inputs = 24
    for stage, outputs, repeats in ((2, 116, 4), (3, 232, 8), (4, 464, 4)):
        half = outputs // 2
        for unit in range(repeats):
            name = f"stage{stage}.{unit}"
            if unit == 0:
                made |= conv(f"{name}.branch1.0", inputs, 1, 3) | norm(f"{name}.branch1.1", inputs)
                made |= conv(f"{name}.branch1.2", half, inputs, 1) | norm(f"{name}.branch1.3", half)
            entering = inputs if unit == 0 else half
            made |= conv(f"{name}.branch2.0", half, entering, 1) | norm(f"{name}.branch2.1", half)
            made |= conv(f"{name}.branch2.3", half, 1, 3) | norm(f"{name}.branch2.4", half)
            made |= conv(f"{name}.branch2.5", half, half, 1) | norm(f"{name}.branch2.6", half)
        inputs = outputs
    return made | conv("conv5.0", 1024, 464, 1) | norm("conv5.1", 1024) | linear("fc", 1000, 1024)


def efficientnet_b0() -> Layout:
    made = conv("features.0.0", 32, 3, 3) | norm("features.0.1", 32)
    inputs = 32
    for stage, (factor, kernel, outputs, repeats) in enumerate(
        (
            (1, 3, 16, 1),
            (6, 3, 24, 2),
            (6, 5, 40, 2),
            (6, 3, 80, 3),
            (6, 5, 112, 3),
            (6, 5, 192, 4),
            (6, 3, 320, 1),
        ),
        1,
    ):
        for block in range(repeats):
            inner, squeeze = inputs * factor, max(1, inputs // 4)
            name, at = f"features.{stage}.{block}.block", 0
            if factor > 1:
                made |= conv(f"{name}.0.0", inner, inputs, 1) | norm(f"{name}.0.1", inner)
                at = 1
            made |= conv(f"{name}.{at}.0", inner, 1, kernel) | norm(f"{name}.{at}.1", inner)
            made |= conv(f"{name}.{at + 1}.fc1", squeeze, inner, 1, bias=True)
            made |= conv(f"{name}.{at + 1}.fc2", inner, squeeze, 1, bias=True)
            made |= conv(f"{name}.{at + 2}.0", outputs, inner, 1) | norm(f"{name}.{at + 2}.1", outputs)
            inputs = outputs
    return (
        made
        | conv("features.8.0", 1280, 320, 1)
        | norm("features.8.1", 1280)
        | linear("classifier.1", 1000, 1280)
    )


LAYOUTS = {
    "alexnet": alexnet(),
    "vgg16": vgg16(with_norm=False),
    "vgg16_bn": vgg16(with_norm=True),
    "resnet18": resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": resnet((3, 4, 6, 3), bottleneck=True),
    "resnext50_32x4d": resnet((3, 4, 6, 3), bottleneck=True, groups=32, group_width=4),
    "densenet121": densenet121(),
    "squeezenet1_1": squeezenet1_1(),
    "googlenet": googlenet(),
    "inception_v3": inception_v3(),
    "mobilenet_v2": mobilenet_v2(),
    "mobilenet_v3_small": mobilenet_v3_small(),
    "shufflenet_v2": shufflenet_v2(),
    "efficientnet_b0": efficientnet_b0(),
}

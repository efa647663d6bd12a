"""What a format cannot run is said before any work, all of it, by the names of the user's modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgepress import convert
from edgepress.convert import UnsupportedOperator
from edgepress.convert._unsupported import MOST_NAMED, refusal
from edgepress.errors import BackendMissing, UnsupportedModel
from edgepress.program import Program


class Around(nn.Module):
    """A function as a module, so that it has a name."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def odd() -> Program:
    """Two operators that no format has (one of which only falls into pieces that ONNX lacks), and one that ncnn lacks."""
    layers = OrderedDict(
        stem=nn.Conv2d(3, 4, 1),
        bessel=Around(torch.special.bessel_j0),
        norm=nn.BatchNorm2d(4),
        ranking=Around(lambda x: torch.sort(x, 1)[0]),
        airy=Around(torch.special.airy_ai),
    )
    return Program.capture(nn.Sequential(layers), (torch.zeros(2, 3, 4, 4),))


LACKING = {
    "onnx": ["bessel", "airy"],
    "tflite": ["bessel", "airy"],
    "ncnn": ["bessel", "ranking", "airy"],
}


@pytest.mark.parametrize("format", [
    "onnx",
    pytest.param("tflite", marks=pytest.mark.tflite),
    pytest.param("ncnn", marks=pytest.mark.ncnn),
])  # fmt: skip
def test_every_layer_is_named_at_once(format: str) -> None:
    program = odd()
    found = convert.unsupported(program, format)
    assert [place.layer for place in found] == LACKING[format]
    with pytest.raises(UnsupportedModel) as raised:
        convert.check(program, format)
    for place in found:
        assert f"layer {place.layer} ({place.operator}): {place.reason}" in raised.value.where
        assert place.operator in raised.value.what
        assert "test_unsupported.py" in place.line


def lacking_in_onnx_files() -> Program:
    """Two operators that ONNX has: MNN lacks one, OpenVINO the other."""
    layers = OrderedDict(
        stem=nn.Conv2d(3, 4, 1),
        determinant=Around(lambda x: x + torch.linalg.det(x)[..., None, None]),
        bits=Around(lambda x: torch.bitwise_and(x.to(torch.int32), 3).float()),
        head=nn.Conv2d(4, 2, 1),
    )
    return Program.capture(nn.Sequential(layers), (torch.zeros(2, 3, 4, 4),))


@pytest.mark.parametrize(("format", "module", "lacking"), [
    pytest.param("mnn", "MNN", {"bits"}, marks=pytest.mark.mnn),
    pytest.param("openvino", "openvino", {"determinant"}, marks=pytest.mark.openvino),
    pytest.param("coreml", "coremltools", {"determinant"}, marks=pytest.mark.coreml),
])  # fmt: skip
def test_the_tools_own_lists_are_asked(format: str, module: str, lacking: set[str]) -> None:
    pytest.importorskip(module, reason=f"needs the {format} extra")
    assert convert.foresees(format)
    assert {place.layer for place in convert.unsupported(lacking_in_onnx_files(), format)} == lacking


def test_onnx_foresees_without_exporting(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*given: object, **options: object) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr(torch.onnx, "export", export)
    program = odd()
    assert len(convert.unsupported(program, "onnx")) == 2
    assert convert.unsupported(program, "onnx") is convert.unsupported(program, "onnx"), "asked once"


@pytest.mark.mnn
def test_what_lies_between_is_exported_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asking, and writing both formats, takes one ONNX file."""
    pytest.importorskip("MNN", reason="needs the mnn extra")
    export, exported = torch.onnx.export, []

    def counted(*given: Any, **options: Any) -> Any:
        exported.append(given)
        return export(*given, **options)

    monkeypatch.setattr(torch.onnx, "export", counted)
    program = Program.capture(nn.Sequential(nn.Conv2d(3, 4, 1)), (torch.zeros(2, 3, 4, 4),))
    convert.check(program, "mnn")
    for weights in ("float32", "float16"):
        convert.to(program, "mnn", tmp_path / f"{weights}.mnn", {"weights": weights})
    assert len(exported) == 1


USES = {
    "in_place": lambda x: nn.functional.celu(x.abs_() - 1, alpha=0.5),
    "assertion": lambda x: x.to(torch.float32) * 2,
    "pieces": lambda x: torch.special.i0e(x),
    "complex": lambda x: torch.fft.rfft(x).abs(),
    "composite": lambda x: x.unfold(2, 3, 1).mean(-1),
    "erfcx": lambda x: torch.special.erfcx(x),
    "two_outputs": lambda x: x.cummax(1)[0],
    "matrix": lambda x: torch.linalg.svdvals(x),
}  # fmt: skip
SLOW = ("composite", "erfcx", "two_outputs", "matrix")


@pytest.mark.parametrize(
    "function",
    [pytest.param(USES[name], id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name in USES],
)
def test_onnx_foresees_what_the_exporter_does(function: Callable[[Tensor], Tensor]) -> None:
    """Whatever the exporter refuses is foreseen, and nothing that it takes."""
    program = Program.capture(Around(function), (torch.zeros(2, 3, 8, 8),))
    try:
        torch.onnx.export(program.exported, dynamo=True, opset_version=18, verbose=False)
        exported = True
    except torch.onnx.OnnxExporterError:
        exported = False
    assert exported == (not convert.unsupported(program, "onnx"))


def test_a_long_list_ends() -> None:
    places = [UnsupportedOperator(f"layer{number}", "sort", "None has it.") for number in range(25)]
    error = refusal("onnx", places)
    assert f"layer{MOST_NAMED - 1} " in error.where
    assert f"layer{MOST_NAMED} " not in error.where
    assert error.where.endswith("and 5 more")
    assert error.what == "onnx cannot run 25 places of this network: sort."


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return y.mean((2, 3)) + y[y > 0].sum()


@pytest.mark.parametrize("format", ["coreml", "mnn", "pte", "tflite"])
def test_a_size_that_depends_on_values_is_told_by_the_users_line(format: str) -> None:
    program = Program.capture(Masked(), (torch.zeros(2, 3, 4, 4),))
    try:
        convert.check(program, format, here=False)
    except BackendMissing as missing:
        pytest.skip(str(missing))
    except UnsupportedModel as error:
        assert "index" in error.where  # noqa: PT017  else pytest.raises would take a missing package for a failure
    else:
        pytest.fail(f"{format} says nothing")

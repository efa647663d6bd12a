from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from edgepress import convert
from edgepress.backend_fit import FITS, Fit, refuse_unfit
from edgepress.errors import UnsupportedModel
from edgepress.quantized_form import Activations, QuantizedForm

STATIC = QuantizedForm("int8", (8,))


def test_every_format_that_can_be_written_is_in_the_table() -> None:
    assert set(FITS) == set(convert.formats())


@pytest.mark.parametrize("format", FITS)
def test_every_form_has_an_answer_and_every_refusal_a_reason(format: str) -> None:
    fit = FITS[format]
    assert set(fit.forms) == set(typing.get_args(Activations))
    assert all(
        taken.say.endswith(".") for taken in (*fit.forms.values(), fit.groups) if taken.how == "nothing"
    )
    assert all(getattr(fit, field.name) != "" for field in dataclasses.fields(Fit))


def test_the_page_of_the_documentation_is_this_table() -> None:
    from edgepress.cli.forms import page

    written = Path(__file__).parents[2] / "docs" / "quantized.md"
    if not written.parent.is_dir():
        pytest.skip("the documentation is not here")
    assert written.read_text(encoding="utf-8") == page(), "edgepress forms --markdown > docs/quantized.md"


def test_a_refusal_names_form_reason_and_the_formats_that_take_it() -> None:
    with pytest.raises(UnsupportedModel) as refused:
        refuse_unfit(QuantizedForm("float", (4,), grouped=True), "tflite")
    assert "LiteRT takes no w4g network" in refused.value.what
    assert "one scale an output channel" in refused.value.what
    assert "onnx" in refused.value.hint
    assert "tflite" not in refused.value.hint


def test_float_networks_and_int8_ones_pass() -> None:
    for format in FITS:
        refuse_unfit(None, format)
        if format != "paddle":
            refuse_unfit(STATIC, format)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (STATIC, "w8a8"),
        (QuantizedForm("int8", (4, 8)), "w4/8a8"),
        (QuantizedForm("int16", (8,)), "w8a16"),
        (QuantizedForm("float", (4,), grouped=True), "w4g"),
        (QuantizedForm("dynamic", (8,)), "w8dynamic"),
    ],
)
def test_forms_are_called_as_people_call_them(form: QuantizedForm, name: str) -> None:
    assert form.name == name

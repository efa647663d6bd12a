"""Messages and exit codes."""

from __future__ import annotations

import inspect

import pytest

from edgepress import errors
from edgepress.errors import BadInput, EdgepressError, UnknownName

CODES = {
    "UsageError": 2,
    "UnknownName": 2,
    "BadOption": 2,
    "BadInput": 2,
    "Unsupported": 3,
    "UnsupportedModel": 3,
    "UnsupportedTarget": 3,
    "VerificationFailed": 4,
    "BudgetMissed": 5,
    "BackendMissing": 6,
    "DeviceFailed": 7,
}


def test_every_error_and_its_exit_code() -> None:
    found = {
        name: one.exit_code
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, EdgepressError) and one is not EdgepressError
    }
    assert found == CODES
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in CODES), "the tree in the docstring is whole"


def test_a_message_says_what_where_and_what_to_do() -> None:
    assert str(BadInput("It broke.", where="a.py:3", hint="mend it")).splitlines() == [
        "It broke.",
        "  where: a.py:3",
        "  try:   mend it",
    ]
    assert str(BadInput("It broke.")) == "It broke."


@pytest.mark.parametrize(
    ("name", "near"), [("mobilnet", "mobilenet"), ("resnet_20", "resnet20"), ("zzz", "")]
)
def test_unknown_names_give_the_nearest_and_the_list(name: str, near: str) -> None:
    error = UnknownName("model", name, ["resnet20", "mobilenet"])
    assert (f"Did you mean {near!r}?" in error.what) == bool(near)
    assert error.hint == "one of: mobilenet, resnet20"

"""Every error says what happened and what to do about it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"

if not DOCS.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_messages", DOCS / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_message_says_what_to_do(messages: ModuleType) -> None:
    found = messages.messages()
    assert len(found) > 300
    silent = [message for message in found if not message.hint]
    assert not silent, "\n".join(f"{message.place}: {message.what}" for message in silent)


def test_every_message_is_a_sentence(messages: ModuleType) -> None:
    for message in messages.messages():
        assert message.what.rstrip()[-1:] in tuple(".?!)") or message.what.endswith("..."), message.place

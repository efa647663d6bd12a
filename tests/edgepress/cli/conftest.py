"""A user's own Python file, for the tests of a module that says in USER_FILE what stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "mine.py"
    path.write_text(request.module.USER_FILE)
    return path

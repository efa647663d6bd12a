"""The folder listing is the registry."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType

import pytest

from edgepress import plugins
from edgepress.errors import BackendMissing, UnknownName


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "listed_for_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""A folder."""')
    for name in ("on_sun", "on_moon", "_on_earth", "other"):
        (folder / f"{name}.py").write_text(f'"""About {name}."""\nVALUE = {name!r}\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield "listed_for_tests"
    for name in [name for name in sys.modules if name.startswith("listed_for_tests")]:
        del sys.modules[name]


def test_listing_leaves_out_infrastructure_and_imports_no_module(package: str) -> None:
    assert plugins.names(package) == ("on_moon", "on_sun", "other")
    assert plugins.names(package, "on_") == ("moon", "sun")
    assert f"{package}.on_sun" not in sys.modules


def test_loading_and_the_nearest_name(package: str) -> None:
    assert plugins.load(package, "sun", kind="runner", prefix="on_").VALUE == "on_sun"
    with pytest.raises(UnknownName, match="no runner named 'son'. Did you mean 'sun'"):
        plugins.load(package, "son", kind="runner", prefix="on_")
    with pytest.raises(UnknownName):
        plugins.load(package, "_on_earth", kind="runner")


def test_the_class_of_a_module_is_told_from_what_it_takes_and_from_its_aliases() -> None:
    """Python 3.10 takes an alias of a type for a class."""
    module = ModuleType("module")
    text = "Names = list[str]\nclass Inner(Base): ...\nclass Half(Base, ABC):\n    @abstractmethod\n    def rest(self): ..."
    vars(module).update({"Base": int, "ABC": ABC, "abstractmethod": abstractmethod, "Taken": bool})
    exec(text, vars(module))
    assert plugins.only_class(module, int) is module.Inner


def test_missing_packages_come_with_the_way_to_get_them() -> None:
    plugins.require("json", extra="")
    with pytest.raises(BackendMissing) as caught:
        plugins.require("no_such_package_here", extra="tflite")
    assert caught.value.hint == "pip install 'edgepress[tflite]'"

"""The table of what runs where: one crash is one cell, and every file passes on its own runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgepress import isolation, models, plugins
from edgepress.isolation import Finished


@pytest.fixture(scope="module")
def matrix(suite: Callable[[str], ModuleType]) -> ModuleType:
    return suite("matrix")


def test_every_family_has_a_row(matrix: ModuleType) -> None:
    families = {models.find(name).__module__.rpartition(".")[2] for name in matrix.NETWORKS}
    assert families == set(plugins.names("edgepress.models"))


def test_a_crash_is_one_cell_and_the_rest_goes_on(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [matrix.Way(name, "litert") for name in ("first", "second", "third", "gone")]
    runs: list[list[str]] = []

    def crashes_on_the_second(command: Any, folder: Path, **options: Any) -> Finished:
        asked = [str(word) for word in command[3:]]
        runs.append(asked)
        done = asked[: asked.index("second:litert")] if "second:litert" in asked else asked
        (folder / "outcomes.jsonl").write_text("".join(json.dumps(["passed", "60 dB"]) + "\n" for _ in done))
        return Finished(len(done) == len(asked), "", "signal 11 (SIGSEGV)")

    monkeypatch.setattr(matrix, "ways", lambda formats=None: ways)
    monkeypatch.setattr(matrix, "absent", lambda way: "gone | away" if way.format == "gone" else "")
    monkeypatch.setattr(isolation, "run", crashes_on_the_second)

    found = list(matrix.outcomes("lenet5", "int8", models.load("lenet5")))

    assert {each.format: (each.status, each.text) for each in found} == {
        "gone": ("skipped", matrix.SKIPPED),
        "first": ("passed", "60 dB"),
        "second": ("crashed", "signal 11 (SIGSEGV)"),
        "third": ("passed", "60 dB"),
    }
    assert runs == [["first:litert", "second:litert", "third:litert"], ["third:litert"]]
    assert "| lenet5 | int8 | skipped: runtime absent | 60 dB | **crashed**: signal 11" in matrix.page(found)


def test_what_a_page_says_stands_until_it_is_made_again(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ways = [matrix.Way("onnx", "onnxruntime"), matrix.Way("coreml", "")]
    monkeypatch.setattr(matrix, "ways", lambda: ways)
    monkeypatch.setattr(matrix, "absent", lambda way: "")
    made: list[str] = []

    def everything(networks: list[str], formats: list[str] | None) -> Any:
        for name in networks:
            made.append(name)
            for precision in matrix.PRECISIONS:
                yield [
                    matrix.Outcome(name, precision, way.format, way.runner, *ended)
                    for way in ways
                    if not formats or way.format in formats
                ]

    monkeypatch.setattr(matrix, "everything", everything)
    path = tmp_path / "page.md"

    def run(*words: str) -> list[str]:
        made.clear()
        monkeypatch.setattr("sys.argv", ["matrix.py", "--write", str(path), *words])
        matrix.main()
        return list(made)

    ended = ("refused", "no | here")
    assert run("--networks", "vgg11", "lenet5") == ["vgg11", "lenet5"]
    first = matrix.standing(path.read_text())
    assert {(each.status, each.text) for each in first} == {ended}
    ended = ("passed", "61 dB")
    assert run("--networks", "lenet5", "resnet20", "--missing") == ["resnet20"]
    second = {(each.network, each.status) for each in matrix.standing(path.read_text())}
    assert second == {("lenet5", "refused"), ("resnet20", "passed"), ("vgg11", "refused")}
    assert run("--networks", "lenet5") == ["lenet5"]
    third = matrix.standing(path.read_text())
    assert list(dict.fromkeys(each.network for each in third)) == ["lenet5", "resnet20", "vgg11"]
    ended = ("failed", "3 dB")
    assert run("--networks", "lenet5", "unet", "--formats", "onnx") == ["lenet5", "unet"]
    fourth = {each.place: each.status for each in matrix.standing(path.read_text())}
    assert [fourth["lenet5", "int8", way] for way in ways] == ["failed", "passed"]
    assert fourth["unet", "int8", ways[0]] == "failed"
    assert ("unet", "int8", ways[1]) not in fourth
    ways.pop()
    kept = {each.place[2] for each in matrix.standing(path.read_text())}
    assert kept == {ways[0]}, "of a way that there is no more, nothing"


@pytest.mark.slow
def test_every_family_passes_in_every_format_that_runs_here(matrix: ModuleType) -> None:
    found = [each for row in matrix.everything() for each in row]
    assert len(found) == len(matrix.NETWORKS) * len(matrix.PRECISIONS) * len(matrix.ways())
    assert [each for each in found if each.status in ("failed", "crashed")] == []
    assert {each.status for each in found if each.format in ("onnx", "tflite")} <= {"passed", "skipped"}

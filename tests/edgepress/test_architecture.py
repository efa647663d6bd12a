"""What ARCHITECTURE.md promises about the source: directions, torch-free parts, file sizes, the packages list."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepress import plugins

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("models", "compress", "convert", "runtime", "benchmarks")
if not all((ROOT / folder).is_dir() for folder in (*FOLDERS, "edgepress")):
    pytest.skip("the source tree is not here", allow_module_level=True)

SPINE_TOP = frozenset({"cli", "latency", "__main__"})
"""What lies in edgepress/ but composes everything."""

ALLOWED = {
    "spine": {"spine"},
    "models": {"spine", "models"},
    "compress": {"spine", "models", "compress"},
    "convert": {"spine", "convert"},
    "runtime": {"spine", "runtime"},
    "benchmarks": {"spine", "runtime", "benchmarks"},
    "top": {"spine", "models", "compress", "convert", "runtime", "benchmarks", "top"},
}
"""The part on the left may import the parts on the right."""

MOST_LINES = 500


def sources() -> Iterator[Path]:
    for folder in (*FOLDERS, "edgepress"):
        yield from (ROOT / folder).rglob("*.py")


def part(module: str) -> str:
    """The part of the house that a module edgepress.x.y is in."""
    names = module.split(".")[1:] or ["__init__"]
    if names[:2] == ["benchmarks", "suites"]:
        return "top"  # scripts that reproduce tables: they compose everything, and nobody imports them
    if names[0] in FOLDERS:
        return names[0]
    return "top" if names[0] in SPINE_TOP else "spine"


def module_name(file: Path) -> str:
    names = list(file.relative_to(ROOT).with_suffix("").parts)
    if names[0] != "edgepress":
        names.insert(0, "edgepress")
    return ".".join(names)


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute name that is imported, and whether only a type checker imports it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                is_module = module.startswith("edgepress") and _is_module(f"{module}.{alias.name}")
                yield (f"{module}.{alias.name}" if is_module else module), node in typing_only


def _is_module(name: str) -> bool:
    names = name.split(".")[1:]
    root = ROOT if names and names[0] in FOLDERS else ROOT / "edgepress"
    path = root.joinpath(*names)
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_in_the_allowed_directions(file: Path) -> None:
    own = part(module_name(file))
    for name, typing_only in imports(file):
        first = name.split(".")[0]
        assert first not in FOLDERS, f"{file}: import edgepress.{name}, not the bare {name}"
        if first == "edgepress" and not typing_only:
            assert part(name) in ALLOWED[own], f"{file} ({own}) imports {name}"


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_what_begins_with_an_underscore_belongs_to_its_folder(file: Path) -> None:
    """But for the suites, which print what is inside."""
    own = module_name(file)
    if own.startswith("edgepress.benchmarks.suites."):
        return
    for name, _ in imports(file):
        names = name.split(".")
        private = next((place for place, word in enumerate(names) if word[:1] == "_"), len(names))
        if names[0] == "edgepress" and private < len(names):
            folder = ".".join(names[:private])
            assert folder == "edgepress" or own.startswith(f"{folder}."), f"{file} imports {name}"
            assert folder != "edgepress" or part(own) in ("spine", "top"), f"{file} imports {name}"


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_short_and_say_what_they_are(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)), "a file begins with what it is"


IMPORTING = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = sorted({"torch", "onnx", "onnxruntime", "ai_edge_litert", "matplotlib", "sklearn"} & set(sys.modules))
assert not heavy, f"imports {heavy}"
assert not {"models", "compress", "convert", "runtime", "benchmarks"} & set(sys.modules)
"""


def public(package: str) -> list[str]:
    return [package, *(f"{package}.{name}" for name in plugins.names(package))]


@pytest.mark.parametrize(
    "modules",
    [
        ["edgepress"],
        [
            "edgepress.signature",
            "edgepress.artifact",
            "edgepress.recipe",
            "edgepress.accuracy",
            "edgepress.errors",
        ],
        public("edgepress.data"),
        public("edgepress.runtime"),
        public("edgepress.benchmarks"),
        ["edgepress.cli"],
    ],
    ids=lambda modules: modules[0],
)
def test_parts_that_run_on_a_board_import_nothing_heavy(modules: list[str]) -> None:
    subprocess.run([sys.executable, "-c", IMPORTING, *modules], check=True, cwd=ROOT.anchor)


def test_nothing_bare_can_be_imported() -> None:
    """Away from the checkout, `import models` must find the user's own."""
    code = f"import importlib.util as u; print([n for n in {FOLDERS!r} if u.find_spec(n)])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT.anchor, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_the_packages_list_is_the_folders() -> None:
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {file.parent for file in sources()}
    names = {
        module_name(folder / "__init__").removesuffix(".__init__") for folder in folders if folder != ROOT
    }

    assert set(project["packages"]) == {
        name for name in names if not name.startswith("edgepress.benchmarks.")
    }
    assert all((folder / "__init__.py").is_file() for folder in folders if folder.name != "suites")
    assert project["package-dir"] == {"edgepress": "edgepress"} | {f"edgepress.{one}": one for one in FOLDERS}

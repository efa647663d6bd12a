"""The documentation: every command on its pages does what the page says, and every page of the reference can be made."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import documented
import pytest
from without_extras import NETWORK

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs").is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)

FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
READMES = ["README.md", "README.zh.md"]


@dataclass(frozen=True)
class Block:
    """A piece of a page: a file to write, where it has a title, or commands."""

    language: str
    title: str
    text: str

    def commands(self) -> list[list[str]]:
        """What the tests run: `bash`. In `sh` stand commands that need a device, or another program of the user's."""
        return [shlex.split(line) for line in self.text.splitlines()] if self.language == "bash" else []


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))]


def commands(page: str) -> list[list[str]]:
    return [command for block in blocks(page) for command in block.commands()]


def test_pages_were_found() -> None:
    assert len(PAGES) >= 8
    assert len(commands("docs/getting-started.md")) >= 10


def shown(page: str) -> list[list[str]]:
    """Every edgepress command that has a line of its own, in a block or indented, whether the tests run it or not."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^(?:    )?edgepress ([a-z]+ .+|[a-z]+)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", [*PAGES, *READMES])
def test_commands_have_the_options_that_the_page_gives(page: str) -> None:
    for words in shown(page):
        documented.parse(words)


def test_every_command_that_is_run_is_also_looked_at() -> None:
    for page in PAGES:
        ran = [arguments for name, *arguments in commands(page) if name == "edgepress"]
        assert all(arguments in shown(page) for arguments in ran)
    assert len(shown("README.md")) >= 7


def test_both_readmes_show_the_same_commands_and_figures() -> None:
    assert shown("README.zh.md") == shown("README.md")
    assert figures("README.zh.md") == figures("README.md")


def figures(page: str) -> list[list[str]]:
    """Of each row of the page's tables, the numbers."""
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [re.findall(r"\d[\d.]*", row) for row in rows]


def test_both_languages_tell_the_same() -> None:
    assert commands("docs/getting-started.zh.md") == commands("docs/getting-started.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and ".zh." not in page])
def test_commands_run(page: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NETWORK)  # for the pages that bring none of their own
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        for name, *arguments in block.commands():
            program = [sys.executable, "-m", "edgepress"] if name == "edgepress" else [sys.executable]
            ran = subprocess.run(
                [*program, *arguments],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, f"{name} {shlex.join(arguments)}\n{ran.stderr}"


def test_links_lead_somewhere() -> None:
    made = {f"docs/reference/{path}" for path in _reference()}
    for page in [*PAGES, *READMES]:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+\.md)", text):
            path = (Path(page).parent / target).as_posix()
            assert path in made or (ROOT / path).is_file(), f"{page}: {target}"


def test_the_reference_has_a_page_for_every_stage_format_runtime_and_target() -> None:
    from edgepress import convert, devices, runtime, stage

    pages = _reference()
    counts = {section: sum(path.startswith(f"{section}/") for path in pages) - 1 for section in
              ("stages", "formats", "runtimes", "targets")}  # fmt: skip
    assert counts == {
        "stages": len(stage.names()),
        "formats": len(convert.edges()),
        "runtimes": len(runtime.names()),
        "targets": len(devices.kinds()),
    }
    assert "| `temperature` |" in pages["stages/distill.md"]


def _reference() -> dict[str, str]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages

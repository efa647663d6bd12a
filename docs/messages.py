"""Lists every error message of edgepress: `python docs/messages.py` prints them, and the site has them as a page."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from edgepress import errors

ROOT = Path(__file__).parents[1]
FOLDERS = ("edgepress", "models", "compress", "convert", "runtime", "benchmarks")


@dataclass(frozen=True)
class Message:
    """One place where an error is made; what is put in at run time stands as `...`."""

    place: str
    kind: str
    what: str
    where: str
    hint: str

    @property
    def exit_code(self) -> int:
        code: int = getattr(errors, self.kind).exit_code
        return code


def messages() -> list[Message]:
    """All of them, in the order of exit code and file."""
    found = [
        message
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "suites" not in path.parts
        for message in _of_file(path)
    ]
    return sorted(found, key=lambda message: (message.exit_code, message.place))


def _of_file(path: Path) -> Iterator[Message]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    words = _words(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and _is_error(node.func.id):
            named = {keyword.arg: _text(keyword.value, words) for keyword in node.keywords}
            given = [_text(argument, words) for argument in node.args]
            if node.func.id == "UnknownName":
                # It makes its message of what it is given.
                given, named["hint"] = [f"There is no {given[0]} named {given[1]}."], "one of: ..."
            place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
            yield Message(place, node.func.id, " ".join(given), named.get("where", ""), named.get("hint", ""))


def _words(module: ast.Module) -> Mapping[str, str]:
    """The strings that the file has names for."""
    return {
        target.id: str(node.value.value)
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_error(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, errors.EdgepressError)


def _text(node: ast.expr, words: Mapping[str, str]) -> str:
    """The words of a string; `...` for what is only known at run time."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return words.get(node.id, "...")
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, words) if isinstance(node.value, ast.Name) else "..."
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, words) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, words) + _text(node.right, words)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body, words)} / {_text(node.orelse, words)}"
    return "..."


def page() -> str:
    """The list in Markdown."""
    rows = ["| exit code | message | where | what to try |", "|---|---|---|---|"]
    rows += [
        "| " + " | ".join(_cell(text) for text in (str(one.exit_code), one.what, one.where, one.hint)) + " |"
        for one in messages()
    ]
    title = "# Every error message\n\nMade from the code by `python docs/messages.py`; `...` is filled in at run time.\n\n"
    return title + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    for one in messages():
        click.echo(
            f"{one.exit_code}  {one.what}\n   where: {one.where or '-'}\n   try:   {one.hint or '-'}\n   ({one.place})"
        )

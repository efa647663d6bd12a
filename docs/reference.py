"""Makes the reference pages of the site from docstrings and folder listings: a hook of mkdocs.

`python docs/reference.py FOLDER` writes them as files.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from edgepress import convert, devices, plugins, runtime, stage
from edgepress.cli.stages import described

Pages = dict[str, str]

SECTIONS = {
    "stages": "Compression stages",
    "formats": "Formats",
    "runtimes": "Runtimes",
    "targets": "Targets",
    "commands": "Commands",
}


def pages() -> Pages:
    """Every page by its path below reference/."""
    made: Pages = {}
    made |= {f"stages/{name}.md": _stage(name) for name in stage.names()}
    made |= {f"formats/{start}-to-{end}.md": _format(start, end) for start, end in convert.edges()}
    made |= {f"runtimes/{name}.md": _runtime(name) for name in runtime.names()}
    made |= {f"targets/{name}.md": _target(name) for name in devices.kinds()}
    made |= {f"commands/{name}.md": _command(name) for name in plugins.names("edgepress.cli")}
    for section, title in SECTIONS.items():
        made[f"{section}/index.md"] = _index(section, title, made)
    made["messages.md"] = _messages()
    made["index.md"] = "# Reference\n\n" + "".join(
        f"- [{title}]({section}/index.md)\n" for section, title in SECTIONS.items()
    )
    made["index.md"] += "- [Every error message](messages.md)\n"
    return made


def _messages() -> str:
    sys.path.append(str(Path(__file__).parent))
    try:
        import messages
    finally:
        sys.path.pop()
    page: str = messages.page()
    return page


def _stage(name: str) -> str:
    found = stage.find(name)
    bare = f":{found.shorthand}=..." if found.shorthand else ""
    return _page(
        name,
        plugins.summary(stage.PACKAGE, name),
        _text(found),
        "## Options\n\n" + _options(found),
        f"On the command line: `--stage {name}{bare}`; in a recipe: `- {name}: {{...}}`."
        + (f" A value alone sets `{found.shorthand}`." if found.shorthand else ""),
        f"Rules may set for single layers: {_listed(sorted(found.per_layer))}." if found.per_layer else "",
        "Rules may leave single layers out, with `skip`." if found.skips_layers else "",
    )


def _format(start: str, end: str) -> str:
    found = convert.find(start, end)
    runners = runtime.runners_of(end)
    return _page(
        f"{start} to {end}",
        plugins.summary("edgepress.convert", f"{start}_to_{end}"),
        _text(found),
        "## Options\n\n" + _options(found),
        f"Runs on: {_listed(f'[{name}](../runtimes/{name}.md)' for name in runners)}."
        if runners
        else "No runtime here loads it.",
        _extra(found),
    )


def _runtime(name: str) -> str:
    found = runtime.find(name)
    return _page(
        name,
        plugins.summary("edgepress.runtime", f"on_{name}"),
        _text(found),
        f"Loads: {_listed(f'`.{format}`' for format in found.formats)}.",
        f"On devices: {_listed(f'`{device.syntax}`' for device in found.devices)}.",
        _extra(found),
    )


def _target(name: str) -> str:
    found = devices.find(name)
    return _page(
        found.syntax, plugins.summary("edgepress.devices", name), _text(found),
        f"Written `{found.syntax}`, or `{found.syntax}#RUNNER` for one of the device's runtimes.",
    )  # fmt: skip


def _command(name: str) -> str:
    import click

    from edgepress.cli._group import Commands

    command = Commands().get_command(click.Context(click.Command("edgepress")), name)
    assert command is not None
    with click.Context(command, info_name=f"edgepress {name}") as context:
        return _page(f"edgepress {name}", f"```text\n{command.get_help(context)}\n```")


def _index(section: str, title: str, made: Pages) -> str:
    links = [
        f"- [{text.partition(chr(10))[0].removeprefix('# ')}]({path.partition('/')[2]}): {_first(text)}"
        for path, text in made.items()
        if path.startswith(f"{section}/")
    ]
    return f"# {title}\n\n" + "\n".join(links) + "\n"


def _first(text: str) -> str:
    """The page's first sentence; a command's is in its help."""
    body = text.partition("\n")[2].strip()
    if body.startswith("```"):
        body = body.split("\n\n")[1]
    return " ".join(body.partition("\n\n")[0].split())


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def _text(found: type[Any]) -> str:
    return inspect.cleandoc(found.__doc__ or "")


def _options(found: type[Any]) -> str:
    rows = list(described(found))
    if not rows:
        return "None."
    return "| option | takes | default |\n|---|---|---|\n" + "\n".join(
        f"| `{name}` | {_cell(type)} | {_cell(default)} |" for name, type, default in rows
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _listed(words: Any) -> str:
    return ", ".join(words) or "none"


def _extra(found: type[Any]) -> str:
    extra = getattr(found, "extra", "")
    return f"Installed by `pip install 'edgepress[{extra}]'`." if extra else ""


def on_files(files: Any, config: Any) -> Any:
    """What mkdocs calls with the files of the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, f"reference/{path}", content=text))
    return files


if __name__ == "__main__":
    for path, text in pages().items():
        target = Path(sys.argv[1], path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

"""The names that the user gave to devices: one JSON file in $EDGEPRESS_CONFIG, else $XDG_CONFIG_HOME/edgepress, else
~/.config/edgepress."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgepress.errors import BadInput, BadOption, UnknownName
from edgepress.files import write_text

CONFIG_VARIABLE = "EDGEPRESS_CONFIG"
NAMES_FILE = "devices.json"
NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


@dataclass(frozen=True)
class Named:
    """A target as it was written, and the interpreter there (empty: the python3 that it finds)."""

    target: str
    python: str = ""


def names_file() -> Path:
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named) / NAMES_FILE
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgepress" / NAMES_FILE


def named() -> dict[str, Named]:
    """Every name, sorted; BadInput where the file is not as `add` writes it."""
    path = names_file()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {str(name): Named(str(one["target"]), str(one["python"])) for name, one in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadInput(
            f"The names of the devices cannot be read ({reason}).",
            where=str(path),
            hint="fix or delete the file",
        ) from None
    return dict(sorted(found.items()))


def add(name: str, device: Named, taken: tuple[str, ...]) -> None:
    """Give a device a name, in place of what had it before; BadOption for one that means something else (`taken`)."""
    if not NAME.fullmatch(name) or name in taken:
        raise BadOption(
            f"{name!r} cannot be the name of a device.",
            where="devices add",
            hint=f"letters, digits, - and _, a letter first, and none of {', '.join(taken)}",
        )
    _write({**named(), name: device})


def remove(name: str) -> None:
    """Forget the name; UnknownName where there is none."""
    left = named()
    if name not in left:
        raise UnknownName("device", name, left, where=str(names_file()))
    del left[name]
    _write(left)


def _write(devices: Mapping[str, Named]) -> None:
    content = {name: asdict(device) for name, device in sorted(devices.items())}
    write_text(names_file(), json.dumps(content, indent=2) + "\n")

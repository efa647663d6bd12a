"""Writing files so that a killed run never leaves half of one, and hashing what was written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.errors import BadInput


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name of `path` in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise BadInput(
            f"Cannot write {path.name}: {error.strerror}.",
            where=str(path.parent),
            hint="free space and permission to write, or another folder (-o)",
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise BadInput(
            f"Cannot write {path.name}: {error.strerror or error}.",
            where=str(path.parent),
            hint="free space and permission to write, or another folder (-o)",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, marker: str) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success it takes the name of `path`.

    Raises BadInput where `path` is a file, or a folder that holds something but no `marker`, the file by which one
    made here before is known: nothing of the user's is ever removed.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / marker).is_file())):
        raise BadInput(
            f"{path.name} is there already, and not ours to replace.",
            where=str(path.absolute()),
            hint="another folder (-o)",
        )
    check_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as name:
        made, old = Path(name, "made"), Path(name, "old")
        made.mkdir()
        yield made
        if path.exists():
            path.rename(old)
        made.rename(path)


def check_writable(folder: Path) -> None:
    """Raise BadInput when files cannot be written to the folder (made or not yet), without making it: asked
    before the work, not after it."""
    try:
        nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except OSError as error:
        raise BadInput(
            f"No files can be written here: {error.strerror}.", where=str(folder), hint="another folder (-o)"
        ) from None
    if not writable:
        kind = "it is read-only" if nearest.is_dir() else "it is a file, not a folder"
        raise BadInput(
            f"No files can be written to {nearest}: {kind}.", where=str(folder), hint="another folder (-o)"
        )


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing_file(path: str | Path, what: str) -> Path:
    """The path, or BadInput that says which `what` (for example "model file") is missing or empty."""
    found = Path(path)
    if not found.is_file():
        kind = "is a folder, not a file" if found.is_dir() else "does not exist"
        raise BadInput(
            f"The {what} {found.name!r} {kind}.", where=str(found.absolute()), hint="check the path"
        )
    if found.stat().st_size == 0:
        raise BadInput(
            f"The {what} {found.name!r} is empty.", where=str(found.absolute()), hint="copy it again"
        )
    return found


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

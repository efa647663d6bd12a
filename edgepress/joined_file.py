"""The files of a format that has more than one, joined in one plain zip: so one hash covers them all.

`unzip` gives what the runtime's own examples load; nothing is compressed, only joined.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepress.errors import BadInput
from edgepress.files import existing_file

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The same network gives the same bytes."""


def join(path: Path, members: Mapping[str, bytes]) -> None:
    """Write the members, by their names, as one file at `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as joined:
        for name, content in members.items():
            joined.writestr(zipfile.ZipInfo(name, LONG_AGO), content)


def unpack(path: Path, names: Sequence[str], folder: Path, *, format: str) -> tuple[Path, ...]:
    """Put the members into `folder`; BadInput for a file that does not hold just them, whole and as written."""
    found = existing_file(path, f"{format} file")
    try:
        with zipfile.ZipFile(found) as joined:
            members = joined.infolist()
            is_ours = [member.filename for member in members] == [*names]
            if is_ours and all(member.compress_type == zipfile.ZIP_STORED for member in members):
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(joined.read(name))
                return tuple(folder / name for name in names)
            reason = f"it does not hold {' and '.join(names)}, uncompressed, and nothing else"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        reason = str(error)
    raise BadInput(
        f"This is no .{format} file: {reason}.",
        where=str(found.absolute()),
        hint="convert it again, or copy it again",
    )

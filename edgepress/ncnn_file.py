"""A `.ncnn` file: ncnn's two files, model.param (the graph, as text) and model.bin (the weights), in one plain zip.

So one hash covers both. `unzip` gives what ncnn's own examples load; nothing is compressed, only joined.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgepress.errors import BadInput
from edgepress.files import existing_file

NCNN_FORMAT = "ncnn"
GRAPH, WEIGHTS = "model.param", "model.bin"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The same network gives the same bytes."""


def write(path: Path, graph: str, weights: bytes) -> None:
    """Join the two files at `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as joined:
        for name, content in ((GRAPH, graph.encode()), (WEIGHTS, weights)):
            joined.writestr(zipfile.ZipInfo(name, LONG_AGO), content)


def unpack(path: Path, folder: Path) -> tuple[Path, Path]:
    """Put the two files into `folder`; BadInput for a file that does not hold just them, whole and as written."""
    found = existing_file(path, "ncnn file")
    try:
        with zipfile.ZipFile(found) as joined:
            members = joined.infolist()
            is_ours = [member.filename for member in members] == [GRAPH, WEIGHTS]
            if is_ours and all(member.compress_type == zipfile.ZIP_STORED for member in members):
                for name in (GRAPH, WEIGHTS):
                    (folder / name).write_bytes(joined.read(name))
                return folder / GRAPH, folder / WEIGHTS
            reason = f"it does not hold {GRAPH} and {WEIGHTS}, uncompressed, and nothing else"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        reason = str(error)
    raise BadInput(
        f"This is no .{NCNN_FORMAT} file: {reason}.",
        where=str(found.absolute()),
        hint="convert it again, or copy it again",
    )

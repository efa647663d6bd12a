"""A `.coreml` file: the folder model.mlpackage, as Xcode opens it, in one plain zip.

So one hash covers all of it. Nothing is compressed, only joined; `unzip` gives the folder.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgepress.errors import BadInput
from edgepress.files import existing_file

COREML_FORMAT = "coreml"
PACKAGE = "model.mlpackage"
MODEL = f"{PACKAGE}/Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = f"{PACKAGE}/Data/com.apple.CoreML/weights/weight.bin"
MEMBERS = (f"{PACKAGE}/Manifest.json", MODEL, WEIGHTS)
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write(path: Path, folder: Path) -> None:
    """Join the package in `folder` at `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as joined:
        for name in MEMBERS:
            joined.writestr(zipfile.ZipInfo(name, LONG_AGO), (folder / name).read_bytes())


def unpack(path: Path, folder: Path) -> Path:
    """Put the package into `folder`; BadInput for a file that does not hold just it, whole and as written."""
    found = existing_file(path, "Core ML file")
    try:
        with zipfile.ZipFile(found) as joined:
            members = joined.infolist()
            is_ours = tuple(member.filename for member in members) == MEMBERS
            if is_ours and all(member.compress_type == zipfile.ZIP_STORED for member in members):
                joined.extractall(folder)
                return folder / PACKAGE
            reason = f"it does not hold the members of {PACKAGE}, uncompressed, and nothing else"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        reason = str(error)
    raise BadInput(
        f"This is no .{COREML_FORMAT} file: {reason}.",
        where=str(found.absolute()),
        hint="convert it again, or copy it again",
    )

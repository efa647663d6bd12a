"""The outer layer of a `.pt2`: a zip file whose members are named, stored as they are, and bounded by its size.

Nothing is ever unpacked to disk. No torch here: a board reads the manifest inside a `.pt2` with this.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from edgepress._json_grammar import Refused
from edgepress.errors import BadInput

MOST_MEMBERS = 100_000
LONGEST_NAME = 300
ROOT = "archive"
"""The one folder that all members are in."""

NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_\-]*/(\.data/)?[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*"
)
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
UNIX_SYMLINK = 0o120000


def read_member(path: Path, name: str, most_bytes: int) -> bytes:
    """The content of the member `name` alone; BadInput when there is none, or it is larger than that."""
    with _opened(path) as archive:
        for info in _checked(archive, path):
            if info.filename.partition("/")[2] == name:
                if info.file_size > most_bytes:
                    raise refusal(path, f"its {name} is larger than {most_bytes} bytes")
                return _content(archive, info, path)
    raise refusal(path, f"it holds no {name}")


def read_members(path: Path) -> dict[str, bytes]:
    """Every member's content by its name within the one folder. BadInput for what is not such a zip file."""
    with _opened(path) as archive:
        return {
            info.filename.partition("/")[2]: _content(archive, info, path) for info in _checked(archive, path)
        }


def write_members(members: Mapping[str, bytes]) -> bytes:
    """The zip file of these members, the same bytes for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{ROOT}/{name}", FIXED_DATE), content)
    return buffer.getvalue()


def refusal(path: Path, what: str) -> BadInput:
    """Why the file is not opened, in the words that every check of archives uses."""
    return BadInput(
        f"{path.name!r} is not a program saved by edgepress: {what}.",
        where=str(path.absolute()),
        hint="use a file written by edgepress, or copy the file again",
    )


def check_name(name: str) -> None:
    """Raise Refused for a member that no program of ours has, by its name within the one folder."""
    if len(name) > LONGEST_NAME or not NAME.fullmatch(f"{ROOT}/{name}") or ".." in name:
        raise Refused(f"a member named {name[:LONGEST_NAME]!r}", "the index")


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # the zip reader raises a dozen types on hostile bytes
        raise refusal(path, f"it cannot be read as a zip file ({error})") from None


def _checked(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise refusal(path, f"it holds {len(infos)} members")
    names = Counter(info.filename for info in infos)
    if twice := [name for name, times in names.items() if times > 1]:
        raise refusal(path, f"the member {twice[0]!r} is there twice")
    if len({name.partition("/")[0] for name in names}) > 1:
        raise refusal(path, "its members are not in one folder")
    for info in infos:
        _check_member(info, path)
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise refusal(path, "its members are larger than the file")
    return infos


def _check_member(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.filename
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name) or ".." in name:
        raise refusal(path, f"a member is named {name[:LONGEST_NAME]!r}")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise refusal(path, f"the member {name!r} is compressed")
    if info.flag_bits & 1:
        raise refusal(path, f"the member {name!r} is encrypted")
    if (info.external_attr >> 16) & 0o170000 == UNIX_SYMLINK:
        raise refusal(path, f"the member {name!r} is a link")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    try:
        content = archive.read(info)
    except Exception as error:  # as above: the checksum, an offset beyond the end, a header that disagrees
        raise refusal(path, f"the member {info.filename!r} is damaged ({error})") from None
    if len(content) != info.file_size:
        raise refusal(path, f"the member {info.filename!r} is cut off")
    return content

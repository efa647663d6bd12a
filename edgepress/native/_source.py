"""ncnn's source: the archive that its makers put on PyPI, known by its hash."""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.request
from pathlib import Path

from edgepress.errors import BackendMissing

VERSION = "1.0.20261020"
ADDRESS = (
    "https://files.pythonhosted.org/packages/b7/50/"
    f"32b5172afe7d3e0dce410b7d8f4a5b7b84b942a0d69affbaedf669de52bc/ncnn-{VERSION}.tar.gz"
)
SHA256 = "ad8cdd63e9755cfa8e23b9b6d9ce46156077d80298a89e7c3ba325ffccfca200"
"""So neither the address nor the way has to be trusted. pip cannot fetch it: building stamps today's date as its
version, which pip then refuses."""

SECONDS = 120


def unpack(folder: Path) -> Path:
    """Fetch and unpack it; the folder that holds CMakeLists.txt."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=SECONDS) as answer:
            content = answer.read()
    except OSError as error:
        raise BackendMissing(
            f"The source code of ncnn cannot be downloaded: {error}.",
            where=ADDRESS,
            hint="this needs network access: files.pythonhosted.org, directly or by the proxy in https_proxy",
        ) from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise BackendMissing(
            "The downloaded archive is not the published source of ncnn: its hash differs.",
            where=ADDRESS,
            hint="try again",
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder)  # what bears this hash leads nowhere out of the folder
    return folder / f"ncnn-{VERSION}"

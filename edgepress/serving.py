"""The other side of worker.py: python serving.py SCRIPT ARGUMENT ... answers calls until its input ends.

It runs in a tool's environment, where there is nothing of ours: so it imports NumPy and no more. SCRIPT has a class
`Session`, made from the arguments; a call names one of its methods, which takes arrays and returns arrays or None.
What the tool prints goes to the standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import struct
import sys
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

READY = b"edgepress answers\n"
"""The first words of an agent on a device: what a shell there prints as it starts comes before them."""

LENGTH = struct.Struct("<Q")
"""In front of a message: the bytes of its head, which is JSON; the arrays follow as they lie in memory."""


def send(stream: IO[bytes], text: str, arrays: Sequence[np.ndarray]) -> None:
    arrays = [np.ascontiguousarray(array) for array in arrays]
    described = [[array.dtype.str, list(array.shape)] for array in arrays]
    head = json.dumps({"text": text, "arrays": described}).encode()
    stream.write(LENGTH.pack(len(head)) + head)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[str, list[np.ndarray]]:
    """The text and the arrays; EOFError when the other side is gone."""
    head = json.loads(_exactly(stream, LENGTH.unpack(_exactly(stream, LENGTH.size))[0]))
    arrays = []
    for dtype, shape in head["arrays"]:
        empty = np.empty(shape, dtype)
        arrays.append(np.frombuffer(_exactly(stream, empty.nbytes), dtype).reshape(shape))
    return head["text"], arrays


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("the other side is gone")
    return content


def _serve(session: Any, requests: IO[bytes], replies: IO[bytes]) -> None:
    while True:
        try:
            name, arrays = receive(requests)
        except EOFError:
            return
        try:
            send(replies, "", getattr(session, name)(*arrays) or ())
        except Exception as error:  # whatever the tool raises is the caller's to judge
            send(replies, _first_line(error), ())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def main(script: str, arguments: Sequence[str]) -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        session = runpy.run_path(script)["Session"](*arguments)
    except Exception as error:  # as above: a file that the tool refuses
        send(replies, _first_line(error), ())
        return
    send(replies, "", ())
    _serve(session, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""The mark of tests whose ONNX files hold integers of 2 bits."""

from __future__ import annotations

import pytest

from edgepress.convert._onnx_writing.pack import two_bits_are_read

needs_two_bits = pytest.mark.skipif(
    not two_bits_are_read(), reason="this ONNX Runtime reads no integers of 2 bits"
)

"""Opening data by its text, and labels that do not fit the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.data import check_labels, open_data
from edgepress.errors import BadInput, UnknownName
from edgepress.signature import Signature, TensorSpec


def signature(classes: int) -> Signature:
    return Signature((TensorSpec("x", (None, 3, 8, 8)),), (TensorSpec("scores", (None, classes)),))


def test_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'folder'") as caught:
        open_data("foldr:./photos")
    assert "digits, folder, function, npz" in caught.value.hint


def test_a_bare_folder_is_answered_with_the_text_to_use(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="The kind of the data") as caught:
        open_data(str(tmp_path))
    assert caught.value.hint == f"--data folder:{tmp_path}"


def test_class_count_that_disagrees(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the digits extra")
    check_labels(open_data("digits"), signature(10))
    with pytest.raises(BadInput, match="10 classes, but the network scores 1000"):
        check_labels(open_data("digits"), signature(1000))
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 3, 8, 8), np.float32), y=np.array([0, 1, 5]))
    unnamed = open_data(f"npz:{tmp_path / 'a.npz'}")
    check_labels(unnamed, signature(10))
    with pytest.raises(BadInput, match="6 classes, but the network scores 5"):
        check_labels(unnamed, signature(5))

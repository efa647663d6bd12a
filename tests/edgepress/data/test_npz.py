"""Arrays from a file: pictures, ready arrays, splits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.data import open_data
from edgepress.errors import BadInput
from edgepress.preprocess import Preprocess

PLAIN = Preprocess(size=(4, 4), scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))


def save(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_pictures_are_preprocessed(tmp_path: Path) -> None:
    x = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    data = open_data(save(tmp_path / "a.npz", x=x, y=np.arange(10)))
    batch = next(data.batches("train", PLAIN))
    assert batch.inputs[0].shape == (8, 3, 4, 4)
    assert batch.labels is not None
    assert (batch.inputs[0][:, 0, 0, 0] == batch.labels).all()


@pytest.mark.parametrize("shape", [(6, 5, 5), (6, 5, 5, 1)])
def test_grey_pictures_become_rgb_when_the_network_wants_it(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = open_data(save(tmp_path / "a.npz", x=np.full(shape, 9, np.uint8)))
    x = next(data.batches("train", PLAIN)).inputs[0]
    assert x.shape == (5, 3, 4, 4)
    assert (x == 9).all()


def test_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((10, 3, 2, 2))
    data = open_data(
        save(tmp_path / "a.npz", x_train=x[:6], y_train=np.arange(6), x_test=x[6:], y_test=np.arange(4))
    )
    (evaluate,) = data.batches("evaluate", None)
    assert evaluate.labels is not None
    np.testing.assert_array_equal(evaluate.inputs[0], x[6:].astype(np.float32)[evaluate.labels])
    assert (data.count("train"), data.count("evaluate"), data.class_count()) == (6, 4, 6)


X = np.zeros((4, 3, 2, 2), np.float32)
REFUSED = {
    "its arrays are called images": {"images": X},
    "x is int64": {"x": X.astype(np.int64)},
    "x is uint8 4 x 3 x 8 x 8": {"x": np.zeros((4, 3, 8, 8), np.uint8)},
    "x is float32 4": {"x": np.zeros(4, np.float32)},
    "y is float32": {"x": X, "y": np.zeros(4, np.float32)},
    "negative label -1": {"x": X, "y": np.array([0, 1, -1, 2])},
    "it has no samples": {"x": X[:0]},
    "no samples": {"x_train": np.float32(1), "x_test": np.float32(2)},
    "one integer a sample": {
        "x_train": X,
        "x_test": X,
        "y_train": np.zeros(3, np.int64),
        "y_test": np.zeros(5, np.int64),
    },
    "for 4 samples": {"x": X, "y": np.zeros(3, np.int64)},
    "x_train is": {"x_train": X, "x_test": X[:, :1]},
}


@pytest.mark.parametrize("said", REFUSED)
def test_unfit_arrays_are_refused(tmp_path: Path, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        open_data(save(tmp_path / "a.npz", **REFUSED[said]))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return (marker.touch, ())

    np.savez(tmp_path / "a.npz", x=np.array([Attack()], dtype=object))
    with pytest.raises(BadInput, match="pickle"):
        open_data(f"npz:{tmp_path / 'a.npz'}")
    assert not marker.exists()


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "c.npz").write_text("hello")
    np.savez_compressed(tmp_path / "d.npz", x=np.random.default_rng(0).standard_normal((50, 3, 8, 8)))
    damaged = bytearray((tmp_path / "d.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "d.npz").write_bytes(damaged)
    for name in ("a.npy", "b.npz", "c.npz", "d.npz", "missing.npz"):
        with pytest.raises(BadInput, match=name):
            open_data(f"npz:{tmp_path / name}")

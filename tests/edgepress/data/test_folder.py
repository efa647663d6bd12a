"""Picture folders: what is read from where, with which labels, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgepress.data import Data, DataOptions, _pictures, open_data
from edgepress.errors import BadInput, BadOption
from edgepress.preprocess import Preprocess

PLAIN = Preprocess(size=(4, 4), scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Ten pictures a class; the red value is the label, the green value the number within the class."""
    for label, name in enumerate(("ant", "bee", "cow")):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png", (label, number, 7))
    return tmp_path


def everything(data: Data, split: str, **options: object) -> tuple[np.ndarray, np.ndarray]:
    batches = list(data.batches(split, PLAIN, **options))
    return np.concatenate([b.inputs[0] for b in batches]), np.concatenate([b.labels for b in batches])


def test_labels_are_the_sorted_class_folders(classes: Path) -> None:
    data = open_data(f"folder:{classes}")
    x, y = everything(data, "train")
    assert data.class_names == ("ant", "bee", "cow")
    assert x.shape == (24, 3, 4, 4)
    assert x.dtype == np.float32
    assert (x[:, 0, 0, 0] == y).all()


def test_split_is_the_seeded_permutation(classes: Path) -> None:
    data = open_data(f"folder:{classes}", DataOptions(train_share=0.2, seed=3))
    order = np.random.RandomState(3).permutation(30)
    numbers = {
        split: [10 * a[0, 0, 0] + a[1, 0, 0] for a in everything(data, split)[0]]
        for split in ("calibrate", "evaluate")
    }
    assert numbers["calibrate"] == order[:6].tolist()
    assert numbers["evaluate"] == order[6:].tolist()


def test_train_and_val_folders_are_taken_as_they_are(classes: Path, tmp_path: Path) -> None:
    root = tmp_path / "divided"
    for name in ("ant", "bee"):
        for number in range(3):
            picture(root / "train" / name / f"{number}.png", (1, 1, 1))
    picture(root / "val" / "bee" / "x.jpg", (9, 9, 9))
    data = open_data(f"folder:{root}")
    assert (data.count("train"), data.count("calibrate"), data.count("evaluate")) == (6, 6, 1)
    assert everything(data, "evaluate")[1].tolist() == [1]


def test_limit_skip_and_batches(classes: Path) -> None:
    data = open_data(f"folder:{classes}")
    whole = everything(data, "train")[0]
    assert [len(b) for b in data.batches("train", PLAIN, batch_size=5, limit=12)] == [5, 5, 2]
    np.testing.assert_array_equal(everything(data, "train", skip=4, limit=3)[0], whole[4:7])


def test_shuffling_keeps_pictures_and_labels_together(classes: Path) -> None:
    data = open_data(f"folder:{classes}")
    x, y = everything(data, "train")
    mixed, labels = everything(data, "train", shuffle_seed=1)
    assert (mixed[:, 0, 0, 0] == labels).all()
    assert not np.array_equal(mixed, x)
    assert sorted(map(tuple, mixed[:, :, 0, 0])) == sorted(map(tuple, x[:, :, 0, 0]))
    np.testing.assert_array_equal(mixed, everything(data, "train", shuffle_seed=1)[0])


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.jpg", (1, 2, 3))
    data = open_data(f"folder:{tmp_path}")
    assert data.class_count() is None
    assert next(data.batches("calibrate", PLAIN)).labels is None


def test_channel_order_and_normalisation(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (10, 20, 30))
    bgr = Preprocess(size=(4, 4), scale=0.5, mean=(1, 2, 3), std=(1, 2, 4), channel_order="BGR")
    grey = Preprocess(size=(4, 4), scale=1.0, mean=(0,), std=(1,), channel_order="L")
    data = open_data(f"folder:{tmp_path}")
    assert next(data.batches("evaluate", bgr)).inputs[0][0, :, 0, 0].tolist() == [14.0, 4.0, 0.5]
    assert next(data.batches("evaluate", grey)).inputs[0].shape == (1, 1, 4, 4)


def test_shorter_side_then_centre_crop(tmp_path: Path) -> None:
    """A picture twice as wide as high: the crop holds the middle, stretching holds both ends."""
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    data = open_data(f"folder:{tmp_path}")
    crop = Preprocess(size=(8, 8), shorter_side=8, scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    stretch = Preprocess(size=(8, 8), scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    assert (next(data.batches("evaluate", crop)).inputs[0] == 200).all()
    assert next(data.batches("evaluate", stretch)).inputs[0][0, 0, 4, 0] == 0
    too_large = Preprocess(size=(8, 8), shorter_side=6)
    with pytest.raises(BadOption, match="no centre of 8x8"):
        next(data.batches("evaluate", too_large))


def test_pictures_beyond_the_cache_are_read_again(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pictures, "CACHE_BYTES", 5 * 4 * 4 * 3)
    data = open_data(f"folder:{classes}")
    first = everything(data, "train")[0]
    assert data._cached_bytes == 5 * 4 * 4 * 3
    np.testing.assert_array_equal(everything(data, "train")[0], first)


def test_a_broken_picture_is_named(classes: Path) -> None:
    broken = classes / "bee" / "4.png"
    broken.write_bytes(broken.read_bytes()[:40])
    data = open_data(f"folder:{classes}", DataOptions(train_share=0.99))
    with pytest.raises(BadInput, match=r"4\.png.*cannot be decoded") as caught:
        everything(data, "train")
    assert caught.value.where == str(broken)


@pytest.mark.parametrize(
    ("made", "said"), [([], "no pictures"), (["ant/", "bee/"], "no pictures"), (["notes.txt"], "no pictures")]
)
def test_a_folder_without_pictures(tmp_path: Path, made: list[str], said: str) -> None:
    for name in made:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("x")
    with pytest.raises(BadInput, match=said):
        open_data(f"folder:{tmp_path}")


def test_an_empty_class_is_refused(classes: Path) -> None:
    (classes / "dog").mkdir()
    with pytest.raises(BadInput, match="hold no pictures: dog"):
        open_data(f"folder:{classes}")


def test_a_class_only_in_val_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "ant" / "0.png", (0, 0, 0))
    picture(tmp_path / "val" / "bee" / "0.png", (0, 0, 0))
    with pytest.raises(BadInput, match="bee"):
        open_data(f"folder:{tmp_path}")


def test_missing_folder_and_missing_preprocessing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        open_data(f"folder:{tmp_path / 'none'}")
    picture(tmp_path / "a.png", (0, 0, 0))
    with pytest.raises(BadInput, match="no preprocessing that turns pictures"):
        next(open_data(f"folder:{tmp_path}").batches("evaluate", None))

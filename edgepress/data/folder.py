"""`folder:DIR`: pictures in class folders, `DIR/cat/1.jpg`; the labels are the sorted folder names.

DIR/train/<class>/*  with  DIR/val/<class>/*  (or test/, evaluate/)    divided as they lie
DIR/<class>/*                                                          divided by a seeded permutation
DIR/*                                                                  no labels: calibration only
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgepress.data import Data, DataOptions
from edgepress.data._indexed import Splits, divided, given
from edgepress.data._pictures import PictureData
from edgepress.errors import BadInput

EVALUATION_FOLDERS = ("val", "test", "evaluate")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def open_source(location: str, options: DataOptions) -> Data:
    """The pictures under the folder `location`.

    Raises BadInput for a folder that is missing, holds no pictures, or an empty class; a picture that
    cannot be decoded raises BadInput with its name when it is read.
    """
    root = Path(location).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "does not exist"
        raise BadInput(
            f"The folder {location!r} {what}.", where=f"--data folder:{location}", hint="check the path"
        )
    evaluation = [root / name for name in EVALUATION_FOLDERS if (root / name).is_dir()]
    if (root / "train").is_dir() and evaluation:
        return _divided_as_it_lies(root, evaluation[0], options)
    names, paths, labels = _listing(root)
    return _source(root, paths, labels if names else None, names, divided(len(paths), options))


def _divided_as_it_lies(root: Path, evaluation: Path, options: DataOptions) -> Data:
    names, paths, labels = _listing(root / "train")
    evaluation_names, evaluation_paths, positions = _listing(evaluation)
    if unknown := sorted(set(evaluation_names) - set(names)) or (names and not evaluation_names):
        raise BadInput(
            f"The classes of {evaluation.name}/ are not those of train/: {unknown or 'it has none'}.",
            where=str(root),
            hint="give both the same class folders",
        )
    known = np.array([names.index(name) for name in evaluation_names], np.int64)
    joined = np.concatenate([labels, known[positions]]) if names else None
    splits = given(len(paths), len(evaluation_paths), options)
    return _source(root, [*paths, *evaluation_paths], joined, names, splits)


def _source(
    root: Path, paths: Sequence[Path], labels: np.ndarray | None, names: tuple[str, ...], splits: Splits
) -> Data:
    return PictureData(f"folder:{root}", lambda index: _decoded(paths[index]), splits, labels, names)


def _listing(folder: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """The class names, the pictures sorted by class and path, and the class number of each."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry))
    groups = [_pictures(entry) for entry in classes]
    empty = [entry.name for entry, group in zip(classes, groups, strict=True) if not group]
    paths = [path for group in groups for path in group] or _pictures(folder)
    if not paths:
        raise BadInput(
            f"The folder {folder.name!r} holds no pictures.",
            where=str(folder.absolute()),
            hint=f"pictures end in {', '.join(sorted(SUFFIXES))}",
        )
    if empty and any(groups):
        raise BadInput(
            f"These class folders hold no pictures: {', '.join(empty)}.",
            where=str(folder.absolute()),
            hint="remove them, or fill them: every folder counts as a class",
        )
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)
    return tuple(entry.name for entry in classes) if any(groups) else (), paths, labels


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not _hidden(path) and path.is_file()
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def _decoded(path: Path) -> Image.Image:
    try:
        picture: Image.Image
        with Image.open(path) as picture:
            picture.load()
        return picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "it is not in a picture format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise BadInput(
            f"The picture {path.name!r} cannot be decoded: {reason}.",
            where=str(path),
            hint="remove it, or copy it again",
        ) from None

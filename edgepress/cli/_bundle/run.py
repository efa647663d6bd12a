"""Runs the network of this folder: on a picture, or on the sample inputs to see that it works here.

    python run.py picture.jpg     the five highest scores of the first output
    python run.py                 the sample inputs; what comes out is compared with samples.npz

It needs NumPy and the runtime that network.py imports, for a picture Pillow as well; nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))  # python -I leaves it out

from network import Network  # noqa: E402  it stands beside this file

SHOWN = 5


def prepared(picture: Path) -> np.ndarray:
    """The picture as the network takes it, 1 x channels x height x width, exactly as preprocess.json says."""
    if not (FOLDER / "preprocess.json").exists():
        sys.exit("There is no preprocess.json: how a picture becomes this network's input is not known.")
    from PIL import Image

    told = json.loads((FOLDER / "preprocess.json").read_text(encoding="utf-8"))
    image: Image.Image = Image.open(picture).convert("L" if told["channel_order"] == "L" else "RGB")
    height, width = told["size"]
    shorter = told["resize"]["shorter_side"]
    if shorter is None:
        image = resized(image, width, height)
    else:
        least = min(image.size)
        image = resized(image, shorter * image.width // least, shorter * image.height // least)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image, np.uint8).reshape(height, width, -1)
    if told["channel_order"] == "BGR":
        pixels = pixels[..., ::-1]
    mean, std = np.asarray(told["mean"], np.float32), np.asarray(told["std"], np.float32)
    values = (pixels.astype(np.float32) * np.float32(told["scale"]) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Bilinear with antialiasing, which is what Pillow's BILINEAR does; left alone when the size is right."""
    from PIL import Image

    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR)


def show(scores: np.ndarray) -> None:
    """The highest scores, with labels where there are any."""
    named = FOLDER / "labels.txt"
    labels = named.read_text(encoding="utf-8").splitlines() if named.exists() else []
    for place in np.argsort(-scores, kind="stable")[:SHOWN]:
        print(f"{scores[place]:10.4f}  {labels[place] if place < len(labels) else place}")


def check(network: Network) -> bool:
    """Whether the sample inputs give the expected outputs, as closely as the file's precision promises."""
    limit_db = json.loads((FOLDER / "bundle.json").read_text(encoding="utf-8"))["limit_db"]
    signal = noise = 0.0
    with np.load(FOLDER / "samples.npz") as samples:
        inputs = [samples[f"input{place}"] for place in range(network.inputs)]
        outputs = [samples[f"output{place}"] for place in range(network.outputs)]
    for number in range(len(inputs[0])):
        found = network(*(array[number : number + 1] for array in inputs))
        for want, have in zip(outputs, found, strict=True):
            expected = want[number : number + 1].astype(np.float64)
            signal += float(np.square(expected).sum())
            noise += float(np.square(have - expected).sum())
    sqnr_db = 10 * np.log10(signal / noise) if noise and signal else (np.inf if not noise else -np.inf)
    good = bool(sqnr_db >= limit_db)
    print(
        f"{len(inputs[0])} samples: SQNR {sqnr_db:.1f} dB, limit {limit_db:.1f} dB: {'as expected' if good else 'WRONG'}"
    )
    return good


if __name__ == "__main__":
    if sys.argv[1:]:
        show(Network(FOLDER)(prepared(Path(sys.argv[1])))[0].reshape(-1))
    else:
        sys.exit(0 if check(Network(FOLDER)) else 4)

"""Puts a converted file into a folder with everything that an application needs of it, and examples that run it.

What the examples are is in this folder, as files: `<format>_<name>` becomes `<name>` in the bundles of that format;
`run.py` and `README.md` go into all. So a new format's example is one more file.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepress import __version__, ncnn_file, openvino_file, runtime
from edgepress.artifact import Artifact, Manifest
from edgepress.cli._conversion import Arrays
from edgepress.files import replacing_folder, sha256
from edgepress.ncnn_file import NCNN_FORMAT
from edgepress.openvino_file import OPENVINO_FORMAT
from edgepress.preprocess import Preprocess
from edgepress.records import encode

CONTENTS = "bundle.json"
"""What is in a bundle; a folder is known as one by it."""
HERE = Path(__file__).parent
JOINED = {NCNN_FORMAT: ncnn_file.unpack, OPENVINO_FORMAT: openvino_file.unpack}
NETWORK, RUN, README = "network.py", "run.py", "README.md"


@dataclass(frozen=True)
class Samples:
    """Inputs, samples along the first axis, and what the file's own runtime gave for each of them by itself."""

    inputs: Arrays
    outputs: Arrays
    runner: str

    @classmethod
    def of(cls, artifact: Artifact, inputs: Arrays) -> Samples:
        with runtime.open(artifact) as runner:
            singles = [
                runner.run(*(array[place : place + 1] for array in inputs)) for place in range(len(inputs[0]))
            ]
            outputs = tuple(np.concatenate(parts) for parts in zip(*singles, strict=True))
            return cls(inputs, outputs, runner.name())


def write(artifact: Artifact, samples: Samples, folder: Path) -> list[str]:
    """Make the bundle, whole or not at all; the names of its files, those of the network first."""
    manifest = artifact.manifest
    with replacing_folder(folder, CONTENTS) as made:
        model = _put_model(artifact, made)
        (made / "manifest.json").write_text(encode(manifest) + "\n", encoding="utf-8")
        if manifest.preprocess is not None:
            _write_json(made / "preprocess.json", preprocessing(manifest.preprocess))
        if manifest.labels:
            (made / "labels.txt").write_text("\n".join(manifest.labels) + "\n", encoding="utf-8")
        _put_samples(samples, manifest, made)
        for source, name in examples(manifest.format).items():
            shutil.copyfile(HERE / source, made / name)
        shutil.copyfile(HERE / README, made / README)
        contents = {
            "edgepress": __version__,
            "runtime": samples.runner,
            "sha256": {name: sha256(made / name) for name in model},
            "limit_db": runtime.limit_db(manifest.precision, manifest.precision),
        }
        _write_json(made / CONTENTS, contents)
        others = sorted(file.name for file in made.iterdir() if file.name not in model)
    return [*model, *others]


def examples(format: str) -> dict[str, str]:
    """The files of this folder that go into a bundle of the format, and their names there."""
    own = {
        file.name: file.name.removeprefix(f"{format}_")
        for file in sorted(HERE.glob(f"{format}_*"))
        if file.is_file()
    }
    return own | ({RUN: RUN} if NETWORK in own.values() else {})


def preprocessing(preprocess: Preprocess) -> dict[str, object]:
    """Every step from an 8-bit picture to the input, for programs that do not have edgepress."""
    return {
        "resize": {
            "shorter_side": preprocess.shorter_side,
            "otherwise": "stretched to size",
            "filter": "bilinear with antialiasing, as Pillow's BILINEAR; the longer side is rounded down",
        },
        "crop": "centre" if preprocess.shorter_side else None,
        "size": list(preprocess.size),
        "size_is": ["height", "width"],
        "value": "(pixel * scale - mean) / std, in float32",
        "scale": preprocess.scale,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "channel_order": preprocess.channel_order,
        "layout": "NCHW; the file's own is in manifest.json",
        "dtype": "float32",
    }


def _put_model(artifact: Artifact, folder: Path) -> list[str]:
    """The file as its runtime loads it, which may be two files that ours joins."""
    if artifact.format in JOINED:
        return [path.name for path in JOINED[artifact.format](artifact.path, folder)]
    name = f"model.{artifact.format}"
    shutil.copyfile(artifact.path, folder / name)
    return [name]


def _put_samples(samples: Samples, manifest: Manifest, folder: Path) -> None:
    arrays = {f"input{place}": array for place, array in enumerate(samples.inputs)}
    arrays |= {f"output{place}": array for place, array in enumerate(samples.outputs)}
    np.savez(folder / "samples.npz", **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
    first = samples.inputs[0][:1]
    if manifest.layout == "NHWC" and first.ndim == 4:
        first = first.transpose(0, 2, 3, 1)
    (folder / "sample0.f32").write_bytes(np.ascontiguousarray(first, np.float32).tobytes())


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

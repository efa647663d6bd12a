"""A coded program is the same .pt2 again, or it is refused: cut off, damaged, forged, or made to fill the memory."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import numpy as np
import pytest
import tiny_networks

from edgepress import compress, convert, models, runtime
from edgepress._archive_zip import read_members
from edgepress.artifact import Artifact, manifest_path
from edgepress.coding import file as coded
from edgepress.compress.prune_weights import PruneWeights
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.errors import BadInput, BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.recipe import Recipe


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def path(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = convert.to(program, "epz", tmp_path_factory.mktemp("coded") / "model.epz").path
    manifest_path(made).unlink()
    return made


def forged(path: Path, tmp_path: Path, change: object) -> Path:
    """The file with its body changed and its checksum made to fit."""
    content = path.read_bytes()
    body = change(content[len(coded.MAGIC) + coded.CHECKSUM_BYTES :])
    made = tmp_path / "forged.epz"
    made.write_bytes(coded.MAGIC + coded._checksum(body) + body)
    return made


def with_index(path: Path, tmp_path: Path, change: object) -> Path:
    """The file with another index, everything else as it was."""

    def rewrite(body: bytes) -> bytes:
        squeezed, size, index = coded.SIZES.unpack_from(body)
        head = coded._unsqueezed(body[coded.SIZES.size :][:squeezed], size)
        listed = json.loads(head[:index])
        change(listed)
        new = json.dumps(listed).encode()
        packed = lzma.compress(new + head[index:], lzma.FORMAT_RAW, filters=coded.FILTERS)
        sizes = coded.SIZES.pack(len(packed), len(new) + len(head) - index, len(new))
        return sizes + packed + body[coded.SIZES.size + squeezed :]

    return forged(path, tmp_path, rewrite)


@pytest.mark.parametrize("coder", ["smallest", "huffman"])
@pytest.mark.parametrize(
    "stages", [(), (PruneWeights(sparsity=0.8),), (QuantizeStatic(samples=16),)], ids=len
)
def test_it_holds_the_very_members_of_the_pt2(
    program: Program, tmp_path: Path, stages: tuple, coder: str
) -> None:
    if stages:
        program = compress.apply(program, Recipe(stages), tiny_networks.Patches())
    program.save(tmp_path / "model.pt2")
    made = convert.to(program, "epz", tmp_path / "model.epz", {"coder": coder})
    assert coded.decode(made.path) == read_members(tmp_path / "model.pt2")
    assert made.manifest.size_bytes < 0.7 * (tmp_path / "model.pt2").stat().st_size


def test_it_is_a_network_wherever_one_is_asked_for(program: Program, path: Path) -> None:
    inputs = program.signature.example(3)
    loaded = models.load(str(path))
    assert np.array_equal(loaded.run(*inputs)[0], program.run(*inputs)[0])
    assert loaded.history == program.history
    with pytest.raises(BadOption, match="A .epz holds a whole network"):
        models.load(str(path), input_shape=(3, 8, 8))


def test_it_needs_no_manifest_beside_it(program: Program, path: Path) -> None:
    artifact = Artifact.open(path)
    assert (artifact.format, artifact.manifest.size_bytes) == ("epz", path.stat().st_size)
    with runtime.open(artifact) as runner:
        assert np.array_equal(
            runner.run(*program.signature.example(2))[0], program.run(*program.signature.example(2))[0]
        )


def test_the_same_network_gives_the_same_bytes(program: Program, path: Path, tmp_path: Path) -> None:
    assert convert.to(program, "epz", tmp_path / "again.epz").path.read_bytes() == path.read_bytes()


def test_every_flipped_byte_and_every_cut_is_noticed(path: Path, tmp_path: Path) -> None:
    content, picks = path.read_bytes(), random.Random(0)
    damaged = [content[:cut] for cut in (0, 3, 4, 20, 31, 32, *picks.sample(range(len(content)), 40))]
    for place in (*range(40), *picks.sample(range(len(content)), 40)):
        damaged.append(
            content[:place] + bytes([content[place] ^ 1 << picks.randrange(8)]) + content[place + 1 :]
        )
    for one in (*damaged, content + b"\0"):
        (tmp_path / "damaged.epz").write_bytes(one)
        with pytest.raises(BadInput):
            coded.decode(tmp_path / "damaged.epz")


def test_a_forged_checksum_gets_no_further_than_a_refusal(path: Path, tmp_path: Path) -> None:
    """Whatever is changed: a clean refusal, or weights that differ and nothing else."""
    picks, refused = random.Random(1), 0
    for _ in range(80):

        def change(body: bytes) -> bytes:
            for _ in range(picks.randint(1, 4)):
                place = picks.choice([picks.randrange(coded.SIZES.size), picks.randrange(len(body))])
                body = body[:place] + bytes([picks.randrange(256)]) + body[place + 1 :]
            return body[: picks.choice([len(body), picks.randrange(len(body))])]

        try:
            coded.decode(forged(path, tmp_path, change))
        except BadInput:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.append({**index[0], "name": "extra/../../x"}), "a member named"),
        (lambda index: index.append({**index[0]}), "twice|does not describe"),
        (lambda index: index[0].update(size=2**31 + 1), "at index"),
        (lambda index: index[0].update(size=2**31), "much more than"),
        (lambda index: index[0].update(size=-1), "at index"),
        (lambda index: index[0].update(width=3), "at index"),
        (lambda index: index[0].update(layout="pickle"), "at index"),
        (lambda index: index[0].update(more=1), "unknown key"),
        (lambda index: index[0].pop("streams"), "no 'streams'"),
        (lambda index: index[0].update(layout="gaps"), "parts that do not fit"),
        (lambda index: index[0].update(entries=4), "parts that do not fit"),
        (lambda index: index.clear(), "does not describe"),
    ],
)
def test_an_index_that_lies(path: Path, tmp_path: Path, change: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        coded.decode(with_index(path, tmp_path, change))


def test_streams_that_lie(path: Path, tmp_path: Path) -> None:
    def inflate(index: list[dict]) -> None:
        for member in index:
            for stream in member["streams"]:
                stream["count"] = 2**31

    def multiply(index: list[dict]) -> None:
        planes = next(member for member in index if member["layout"] == "planes")
        index.extend({**planes, "name": f"data/weights/weight_{number}"} for number in range(100, 8292))

    def shift(index: list[dict]) -> None:
        next(member for member in index if member["streams"])["streams"][0]["count"] -= 1

    for change, said in (
        (inflate, "much more than"),
        (multiply, "more than 8,192"),
        (shift, "add up|no element|in place of|too few|cannot be"),
    ):
        with pytest.raises(BadInput, match=said):
            coded.decode(with_index(path, tmp_path, change))


def test_a_head_that_unpacks_to_more_than_it_says(path: Path, tmp_path: Path) -> None:
    bomb = lzma.compress(bytes(1 << 20), lzma.FORMAT_RAW, filters=coded.FILTERS)
    for size, said in ((1000, "another size"), (1 << 30, "impossible size")):
        body = coded.SIZES.pack(len(bomb), size, 10) + bomb
        with pytest.raises(BadInput, match=said):
            coded.decode(forged(path, tmp_path, lambda _, body=body: body))


def test_what_would_not_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(coded, "MOST_EXPANSION", 100)
    alike = bytes(1 << 20)
    with pytest.raises(UnsupportedModel, match="much more than"):
        coded.encode({"data/weights/weight_0": alike}, {"data/weights/weight_0": 4})


def test_a_network_inside_is_checked_as_any_other(path: Path, tmp_path: Path) -> None:
    members = coded.decode(path)
    members["data/weights/model_weights_config.json"] = members[
        "data/weights/model_weights_config.json"
    ].replace(b'"use_pickle": false', b'"use_pickle": true', 1)
    made = tmp_path / "pickled.epz"
    made.write_bytes(coded.encode(members, {}))
    with pytest.raises(BadInput, match="use_pickle"):
        Program.load(made)

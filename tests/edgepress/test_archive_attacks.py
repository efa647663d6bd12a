"""Crafted `.pt2` files: each is refused, and nothing in it runs, whereas PyTorch's own loading runs it."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import zipfile
from pathlib import Path

import crafted_archives as crafted
import pytest
import torch

from edgepress import _archive_zip
from edgepress.artifact import Artifact
from edgepress.errors import BadInput
from edgepress.program import Program


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a successful attack creates; a hostile module that creates it can be imported."""
    path = tmp_path / "marker"
    (tmp_path / "edgepress_evil.py").write_text(crafted.EVIL_MODULE.format(marker=str(path)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "edgepress_evil", raising=False)
    return path


def craft(name: str, folder: Path, marker: Path) -> Path:
    if name == "machine code" and shutil.which("cc") is None:
        pytest.skip("no C compiler to make the machine code with")
    content = crafted.members(crafted.good(folder))
    (crafted.ATTACKS | crafted.SUSPECTS)[name](content, marker)
    return crafted.write(folder / "bad.pt2", content)


@pytest.mark.parametrize("name", [*crafted.ATTACKS, *crafted.SUSPECTS])
def test_refused_without_running_anything(name: str, tmp_path: Path, marker: Path) -> None:
    bad = craft(name, tmp_path, marker)
    with pytest.raises(BadInput, match=r"'bad\.pt2' is not a program saved by edgepress: ") as caught:
        Program.load(bad)
    assert caught.value.where == str(bad)
    assert not marker.exists()


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="holes seen in PyTorch 2.13")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", crafted.ATTACKS)
def test_the_attack_is_real(name: str, tmp_path: Path, marker: Path) -> None:
    """Loading and running with PyTorch alone touches the marker: the refusal above is not for nothing."""
    bad = craft(name, tmp_path, marker)
    with contextlib.suppress(Exception):
        torch.export.load(bad).module()(torch.zeros(2, 3, 8, 8))
    assert marker.exists()


def test_good_files_load_and_run(tmp_path: Path) -> None:
    """What the attacks change is fine before the change, with PyTorch alone too."""
    path = crafted.good(tmp_path)
    content = crafted.write(tmp_path / "again.pt2", crafted.members(path))
    x = torch.zeros(3, 3, 8, 8)
    expected = Program.load(path).run(x.numpy())[0]
    assert (Program.load(content).run(x.numpy())[0] == expected).all()
    assert (torch.export.load(path).module()(x).detach().numpy() == expected).all()


def _zip(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]], compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _linked() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("archive/extra/link")
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("added", "said"),
    [
        ([("archive/../../evil", b"x")], "a member is named"),
        ([("/etc/evil", b"x")], "not in one folder"),
        ([("archive/extra/..\\evil", b"x")], "a member is named"),
        ([("archive/models/model.json", b"{}")], "is there twice"),
        ([("other/models/model.json", b"{}")], "not in one folder"),
        ([(_linked(), b"/etc/passwd")], "is a link"),
        ([("archive/extra/" + "a" * 400, b"x")], "a member is named"),
    ],
)
def test_zip_tricks(added: list[tuple[zipfile.ZipInfo | str, bytes]], said: str, tmp_path: Path) -> None:
    content = crafted.members(crafted.good(tmp_path))
    bad = _zip(tmp_path / "bad.pt2", [(f"archive/{name}", value) for name, value in content.items()] + added)
    with pytest.raises(BadInput, match=said):
        Program.load(bad)


def test_more_members_than_any_network_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive_zip, "MOST_MEMBERS", 10)
    with pytest.raises(BadInput, match="it holds 1[0-9] members"):
        Program.load(crafted.good(tmp_path))


def test_zip_bomb(tmp_path: Path) -> None:
    """200 MB of zeros in 200 kB: refused before anything is unpacked."""
    bad = _zip(
        tmp_path / "bad.pt2", [("archive/extra/edgepress.json", b"0" * 200_000_000)], zipfile.ZIP_DEFLATED
    )
    assert bad.stat().st_size < 1_000_000
    with pytest.raises(BadInput, match="is compressed"):
        Program.load(bad)
    with pytest.raises(BadInput, match="is compressed"):
        Artifact.open(bad)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    whole = crafted.good(tmp_path).read_bytes()
    files = {
        "empty.pt2": b"",
        "text.pt2": b"hello",
        "half.pt2": whole[: len(whole) // 2],
        "headless.pt2": whole[100:],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _zip(tmp_path / "photos.pt2", [("a/1.jpg", b"x")])
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickle.pt2")
    torch.export.save(
        torch.export.export(crafted.Small().eval(), (torch.zeros(2, 3, 8, 8),)), tmp_path / "plain.pt2"
    )
    for name in [*files, "photos.pt2", "pickle.pt2", "plain.pt2", "missing.pt2"]:
        with pytest.raises(BadInput, match=name):
            Program.load(tmp_path / name)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_never_escapes(seed: int, tmp_path: Path) -> None:
    """Flipped bytes anywhere: a refusal, or the same network when the byte had no meaning."""
    whole = crafted.good(tmp_path).read_bytes()
    expected = Program.load(tmp_path / "good.pt2").run(torch.ones(2, 3, 8, 8).numpy())[0]
    chance = random.Random(seed)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        bad = tmp_path / "bad.pt2"
        bad.write_bytes(damaged)
        try:
            found = Program.load(bad).run(torch.ones(2, 3, 8, 8).numpy())[0]
        except BadInput:
            continue
        assert (found == expected).all()


@pytest.mark.parametrize("member", [crafted.PROGRAM, crafted.WEIGHTS, "extra/edgepress.json"])
def test_random_json_never_escapes(member: str, tmp_path: Path) -> None:
    """JSON with one value exchanged, removed or doubled: BadInput or a network, never another error."""
    content = crafted.members(crafted.good(tmp_path))
    chance = random.Random(0)
    refused = 0
    for _ in range(60):
        changed = dict(content)
        crafted.edit(member, lambda value: _mutate(value, chance))(changed)
        try:
            Program.load(crafted.write(tmp_path / "bad.pt2", changed))
        except BadInput:
            refused += 1
    assert refused > 20


def _mutate(value: object, chance: random.Random) -> None:
    """Walk down to a random place and change what is there."""
    while True:
        assert isinstance(value, dict | list)
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        inner = [key for key in keys if isinstance(value[key], dict | list) and value[key]]
        if inner and chance.random() < 0.85:
            value = value[chance.choice(inner)]
            continue
        if not keys:
            return
        key = chance.choice(keys)
        odd = [None, -1, 2**62, "", "x", "__class__", True, [], {}, 1e400, value[chance.choice(keys)]]
        if chance.random() < 0.2:
            del value[key]
        else:
            value[key] = chance.choice(odd)
        return

"""How targets are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress import devices
from edgepress.devices.adb import Adb
from edgepress.devices.cpu import Cpu
from edgepress.devices.cuda import Cuda
from edgepress.devices.ssh import Ssh
from edgepress.errors import BadInput, BadOption, UnknownName
from edgepress.runtime import Target


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPRESS_CONFIG", str(tmp_path))
    return tmp_path / "devices.json"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("cpu", Target()),
        ("cpu:litert", Target(Cpu(), "litert")),
        ("cuda:1", Target(Cuda(1))),
        ("cuda:0#onnxruntime", Target(Cuda(0), "onnxruntime")),
        ("cuda:1/tf32#torch", Target(Cuda(1, "tf32"), "torch")),
        ("ssh://board", Target(Ssh("board"))),
        ("ssh://pi@board.local:2222#litert", Target(Ssh("board.local", "pi", 2222), "litert")),
        ("ssh://pi@[fe80::1%eth0]:22", Target(Ssh("[fe80::1%eth0]", "pi", 22))),
        ("adb:192.168.1.5:5555#ncnn", Target(Adb("192.168.1.5:5555"), "ncnn")),
    ],
)
def test_is_written_as_it_is_read(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert str(target) == text


def test_two_ways_to_write_the_runner_of_this_machine() -> None:
    assert Target.parse("cpu#litert") == Target.parse("cpu:litert")


@pytest.mark.parametrize(
    "text",
    [
        "cuda:",
        "cuda:-1",
        "cuda:one",
        "cuda:0/",
        "cuda:0/int8",
        "cpu#",
        "ssh:board",
        "ssh://",
        "ssh://-oProxyCommand=touch",
        "ssh://-oProxyCommand@board",
        "ssh://pi@-board",
        "ssh://board:0",
        "ssh://board:65536",
        "ssh://board/path",
        "ssh://board;reboot",
        "ssh://$(reboot)",
        "ssh://board name",
        "ssh://board\n",
        "adb:",
        "adb:-s",
        "adb:a;reboot",
        "adb:a b",
    ],
)
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(BadOption):
        Target.parse(text)


def test_an_unknown_kind_names_the_nearest_of_kinds_and_names() -> None:
    devices.add("kitchen", devices.Named("ssh://pi@kitchen"), devices.kinds())
    with pytest.raises(UnknownName, match="Did you mean 'kitchen'"):
        Target.parse("kitchn")
    with pytest.raises(UnknownName, match="one of: adb, cpu, cuda, kitchen"):
        Target.parse("toaster:1")


def test_a_name_stands_for_a_target_and_its_interpreter() -> None:
    devices.add("kitchen", devices.Named("ssh://pi@board#litert", "/opt/python"), devices.kinds())
    kitchen = Target.parse("kitchen")
    assert kitchen == Target(Ssh("board", "pi"), "litert", "kitchen", "/opt/python")
    assert str(kitchen) == "kitchen#litert"
    assert Target.parse("kitchen#onnxruntime").runner == "onnxruntime"


@pytest.mark.parametrize("name", ["cpu", "ssh", "", "-x", "a b", "a#b", "1", "a/../b", "ä"])
def test_names_that_could_be_something_else_are_refused(name: str, config: Path) -> None:
    with pytest.raises(BadOption):
        devices.add(name, devices.Named("cpu"), devices.kinds())
    assert not config.exists()


def test_names_are_forgotten(config: Path) -> None:
    devices.add("kitchen", devices.Named("ssh://board"), devices.kinds())
    devices.remove("kitchen")
    assert devices.named() == {}
    with pytest.raises(UnknownName):
        devices.remove("kitchen")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"target": "cpu"}}'])
def test_a_broken_file_of_names_is_said(content: str, config: Path) -> None:
    config.write_text(content)
    with pytest.raises(BadInput, match="cannot be read"):
        Target.parse("kitchen")

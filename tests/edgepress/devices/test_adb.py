"""A real adbd: what goes there and back, what is refused, and what happens when the link is cut."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import debian_programs
import nearby
import pytest
import real_adbd
import tiny_networks
from waiting import wait_for

from edgepress import convert
from edgepress.cli import run
from edgepress.devices import Transport
from edgepress.devices.adb import OURS, Adb
from edgepress.errors import DeviceFailed

pytestmark = pytest.mark.slow

DEVICE_FAILED = 7


@pytest.fixture(scope="module")
def phone(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[real_adbd.Phone]:
    fetch = debian_programs.may_fetch(request.config)
    with real_adbd.phone(tmp_path_factory.mktemp("phone"), fetch=fetch) as made:
        yield made


@pytest.fixture
def device(phone: real_adbd.Phone) -> Iterator[Transport]:
    with Adb(real_adbd.SERIAL).transport() as transport:
        yield transport


def test_words_and_bytes_arrive_as_they_are(device: Transport) -> None:
    assert device.check(["printf", "%s|", *nearby.EVIL_NAMES]).decode() == "|".join([*nearby.EVIL_NAMES, ""])
    answer = device.run(["sh", "-c", "cat; echo oops >&2; exit 9"], sent=bytes(range(256)))
    assert (answer.code, answer.output, answer.errors) == (9, bytes(range(256)), "oops\n")


def test_files_of_any_name_go_there_and_back(
    device: Transport, phone: real_adbd.Phone, tmp_path: Path
) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20))
    for name in nearby.EVIL_NAMES:
        device.push(source, str(OURS / name))
        device.pull(str(OURS / name), back)
        assert back.read_bytes() == source.read_bytes()
    ours = phone.there / "edgepress" / "device"
    assert {path.name for path in ours.iterdir()} == set(nearby.EVIL_NAMES)
    device.clean()
    assert list(ours.parent.iterdir()) == []


def test_facts_are_the_devices(device: Transport) -> None:
    assert device.facts().kernel.startswith("Linux")


def test_a_device_that_adb_does_not_see(phone: real_adbd.Phone) -> None:
    with (
        Adb("nobody").transport() as device,
        pytest.raises(DeviceFailed, match="adb does not see the device"),
    ):
        device.check(["true"])


def test_a_link_that_is_cut_is_no_success(device: Transport, phone: real_adbd.Phone, tmp_path: Path) -> None:
    """adb ends with exit code 0 then, and with part of the file."""
    started, large, back = phone.there / "started", phone.there / "large", tmp_path / "back"
    large.touch()
    os.truncate(large, 1 << 32)
    for program in (["sh", "-c", 'touch "$1"; sleep 600', "sh", "/data/local/tmp/started"], None):
        cutter = threading.Thread(
            target=lambda: (wait_for(lambda: started.exists() or any(tmp_path.iterdir())), phone.cut())
        )
        cutter.start()
        with pytest.raises(DeviceFailed, match=r"connection was lost|offline|does not see"):
            device.check(program) if program else device.pull("/data/local/tmp/large", back)
        cutter.join()
        started.unlink(missing_ok=True)
        phone.start()
    large.unlink()
    assert list(tmp_path.iterdir()) == []
    assert device.check(["echo", "again"]) == b"again\n"


def test_a_network_runs_there(
    phone: real_adbd.Phone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEPRESS_CONFIG", str(tmp_path))
    program = tiny_networks.capture(tiny_networks.Residual)
    reference = program.save(tmp_path / "model.pt2").path
    artifact = convert.to(program, "onnx", tmp_path / "model.onnx")
    assert run(["devices", "add", "phone", f"adb:{real_adbd.SERIAL}", "--python", sys.executable]) == 0
    assert run(["verify", str(reference), str(artifact.path), "--on", "phone", "--samples", "8"]) == 0
    protocol = "rounds=2,min_runs=4,min_seconds=0"
    command = ["benchmark", str(artifact.path), "--on", "phone", "--protocol", protocol, "--json"]
    capsys.readouterr()
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "phone"
    phone.cut()
    assert run(command) == DEVICE_FAILED
    phone.start()

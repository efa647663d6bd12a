"""The command line as a process: signals, closed pipes, missing packages, and how much it imports to say little."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgepress import plugins
from edgepress.program import Program

SLOW = """
import os, time, torch

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 24, 3)
        self.fc = torch.nn.Linear(24, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))

def network():
    torch.manual_seed(0)
    return Small(), (torch.zeros(2, 3, 8, 8),)

x, y = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 4

class UntilInterrupted:
    def __iter__(self):
        yield x, y
        open("waiting", "w").close()
        time.sleep(300)

def quick():
    return [(x, y)]

class UntilToldToGoOn:
    # Waits once the first stage is saved: the signal then finds the second at work.

    def __iter__(self):
        if os.path.exists("out/model.pt2") and not os.path.exists("go on"):
            open("waiting", "w").close()
            time.sleep(300)
        yield x, y

class UnderAnotherName(UntilToldToGoOn):
    def __iter__(self):
        try:
            yield from super().__iter__()
        except KeyboardInterrupt as stop:
            raise RuntimeError("the words of a library that was interrupted") from stop

class WithinTheSecondEpoch:
    def __iter__(self):
        yield x[:16], y[:16]
        if os.path.exists("out/training.pt") and not os.path.exists("go on"):
            open("waiting", "w").close()
            time.sleep(300)
        yield x[16:], y[16:]

def forgetful():
    network, inputs = globals()["network"]()
    network.fc = torch.nn.Sequential(torch.nn.Dropout(0.3), network.fc)
    return network, inputs

def slow_in_the_second_epoch():
    return WithinTheSecondEpoch()

def slow_to_train():
    return UntilToldToGoOn()

def slow_and_renamed():
    return UnderAnotherName()

class Second:
    count = 0

    def __iter__(self):
        self.count += 1
        return iter(UntilInterrupted() if self.count > 1 else [(x, y)])

def slow_to_calibrate():
    return {"train": [(x, y)], "calibrate": Second(), "evaluate": [(x, y)]}

def slow_to_evaluate():
    return {"train": [(x, y)], "evaluate": UntilInterrupted()}
"""

PREFIX = [sys.executable, "-m", "edgepress"]


def _environment(**values: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **values}


def _listen_to_interrupts() -> None:
    """A test run started in the background hands down an ignored SIGINT, which Python then leaves ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stopped(
    arguments: list[str], folder: Path, ready: Callable[[], bool], number: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    """Start a command, signal it once it is `ready`; its exit code and what it said on stderr."""
    process = subprocess.Popen(
        [*PREFIX, *arguments],
        cwd=folder,
        env=_environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=_listen_to_interrupts,
    )
    deadline = time.monotonic() + 240
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    return process.wait(120), process.communicate()[1].decode()


@pytest.mark.parametrize("data", ["slow_to_train", "slow_and_renamed"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_training_stopped_by_a_signal_goes_on(
    number: signal.Signals, code: int, data: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    stages = ["--prune", "macs=0.7", "--fine-tune", "epochs=2,batch_size=8"]
    arguments = ["compress", "mine.py:network", "--data", f"mine.py:{data}", *stages, "-o", "out"]
    left, said = _stopped(arguments, tmp_path, (tmp_path / "waiting").exists, number)
    assert left == code, said
    assert "Traceback" not in said
    assert "--resume" in said
    assert not list(tmp_path.glob("**/.*"))
    (tmp_path / "go on").touch()
    resumed = subprocess.run([*PREFIX, *arguments, "--resume"], cwd=tmp_path, env=_environment(), check=False)
    assert resumed.returncode == 0
    names = [stage["name"] for stage in json.loads((tmp_path / "out" / "result.json").read_text())["stages"]]
    assert names == ["prune_channels", "fine_tune"]


def test_a_training_that_an_interrupt_cut_within_an_epoch_ends_as_if_nothing_had(tmp_path: Path) -> None:
    """Down to the bits of the weights, and with random numbers drawn in every step."""
    (tmp_path / "mine.py").write_text(SLOW)
    given = [
        "--data",
        "mine.py:slow_in_the_second_epoch",
        "--epochs",
        "3",
        "--with",
        "batch_size=8,holdout=0",
    ]
    arguments = ["train", "mine.py:forgetful", *given, "-o"]
    code, said = _stopped([*arguments, "out"], tmp_path, (tmp_path / "waiting").exists)
    assert code == 130, said
    assert "--resume" in said
    (tmp_path / "go on").touch()
    for further in (["out", "--resume"], ["whole"]):
        subprocess.run([*PREFIX, *arguments, *further], cwd=tmp_path, env=_environment(), check=True)
    resumed, whole = (Program.load(tmp_path / name / "model.pt2") for name in ("out", "whole"))
    assert resumed.history.steps[-1].results == whole.history.steps[-1].results
    for name, weight in whole.exported.state_dict.items():
        assert torch.equal(weight, resumed.exported.state_dict[name]), name


@pytest.mark.parametrize("name", ["slow_to_calibrate", "slow_to_evaluate"])
def test_an_interrupt_while_data_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    arguments = [
        "compress",
        "mine.py:network",
        "--data",
        f"mine.py:{name}",
        "--quantize",
        "int8",
        "-o",
        "out",
    ]
    code, said = _stopped(arguments, tmp_path, (tmp_path / "waiting").exists)
    assert code == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said
    assert not (tmp_path / "out" / "model.pt2").exists()
    assert not list(tmp_path.glob("**/.*"))


def _python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
    )


COMMANDS = plugins.names("edgepress.cli")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from edgepress.cli import run\n"
        f"for command in [[], *([name] for name in {COMMANDS})]:\n"
        "    assert run([*command, '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'onnx', 'onnxruntime', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    finished = _python(code, tmp_path)
    assert finished.returncode == 0, finished.stderr


HIDING = """
import importlib.machinery
real = importlib.machinery.PathFinder.find_spec
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden} else real(name, path, target)
importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
from edgepress.cli import main
main({arguments})
"""

MISSING = [
    ("ai_edge_litert", ["convert", "mine.py:network", "--to", "onnx,tflite", "-o", "out"], "edgepress[tflite]"),
    ("onnxscript", ["convert", "mine.py:network", "--to", "tflite,onnx", "-o", "out"], "pip install onnxscript"),
    ("onnx", ["convert", "mine.py:network", "--to", "onnx", "-o", "out"], "pip install onnx"),
    ("sklearn", ["compress", "lenet5", "--data", "digits", "--quantize", "int8", "-o", "out"], "edgepress[digits]"),
    ("ai_edge_litert", ["demo", "-o", "out"], "edgepress[tflite]"),
    ("jinja2", ["demo", "-o", "out"], "edgepress[report]"),
]  # fmt: skip


@pytest.mark.parametrize(("package", "arguments", "said"), MISSING, ids=lambda value: str(value)[:30])
def test_a_missing_package_is_told_before_the_work(
    package: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    finished = _python(HIDING.format(hidden={package}, arguments=arguments), tmp_path)
    assert finished.returncode == 6, finished.stderr
    assert said in finished.stderr
    assert not (tmp_path / "out").exists()


def test_doctor_tells_what_is_missing(tmp_path: Path) -> None:
    hidden = {"ai_edge_litert", "sklearn", "matplotlib", "onnx"}
    finished = _python(HIDING.format(hidden=hidden, arguments=["doctor", "--json"]), tmp_path)
    told = {(found["kind"], found["name"]): found for found in json.loads(finished.stdout)["backends"]}
    missing = {key: found["detail"] for key, found in told.items() if found["status"] == "missing"}
    expected = {
        ("converter", "onnx to program"): "pip install onnx",
        ("converter", "program to onnx"): "pip install onnx",
        ("converter", "program to tflite"): "pip install 'edgepress[tflite]'",
        ("runner", "litert"): "pip install 'edgepress[tflite]'",
        ("data", "digits"): "pip install 'edgepress[digits]'",
        ("report", "html"): "pip install 'edgepress[report]'",
    }
    assert {key: missing.get(key) for key in expected} == expected
    assert told["runner", "onnxruntime"]["status"] == "ready"


def test_doctor_tells_what_nobody_can_install(tmp_path: Path) -> None:
    finished = _python(HIDING.format(hidden=set(), arguments=["doctor", "--json"]), tmp_path)
    told = {found["name"]: found for found in json.loads(finished.stdout)["backends"]}
    assert told["MACE"]["status"] == "unavailable"
    assert "--to onnx or --to tflite" in told["MACE"]["detail"]


def test_doctor_makes_no_environment_that_it_does_not_know(tmp_path: Path) -> None:
    finished = _python(HIDING.format(hidden=set(), arguments=["doctor", "--make", "nothing"]), tmp_path)
    assert finished.returncode == 2
    assert "isolated environment" in finished.stderr


def test_core_commands_work_without_the_extras(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    hidden = {"ai_edge_litert", "flatbuffers", "sklearn", "matplotlib", "jinja2"}
    arguments = ["compress", "mine.py:network", "--data", "mine.py:quick", "--quantize", "int8", "-o", "out"]
    finished = _python(HIDING.format(hidden=hidden, arguments=arguments), tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("\n") == 1, "one line a stage, and no progress bar in a log"


BROKEN = """
from edgepress import stage
def broken(): raise ZeroDivisionError("nobody thought of this")
stage.names = broken
from edgepress.cli import main
main(["stages"])
"""


def test_a_bug_says_that_it_is_one(tmp_path: Path) -> None:
    finished = _python(BROKEN, tmp_path)
    assert finished.returncode == 1
    assert "a bug in edgepress: ZeroDivisionError: nobody thought of this" in finished.stderr
    assert "EDGEPRESS_DEBUG=1" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "Traceback" in _python(BROKEN, tmp_path, EDGEPRESS_DEBUG="1").stderr


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    command = f"{sys.executable} -m edgepress stages --json | head -c 1"
    finished = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=_environment(), capture_output=True, check=False
    )
    assert finished.stdout == b"{"
    assert finished.stderr == b""


def test_neither_home_nor_utf8_is_needed(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "COLUMNS", "TERM")}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    finished = subprocess.run(
        [*PREFIX, "stages"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert b"prune_channels" in finished.stdout

"""Running artifacts on another device, which here is this machine behind the agent: what is answered, copied and said."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import nearby
import numpy as np
import pytest
import tiny_networks

from edgepress import benchmarks, convert, runtime
from edgepress.artifact import Artifact
from edgepress.benchmarks import Protocol
from edgepress.cache import cache_folder
from edgepress.errors import BackendMissing, BadInput, DeviceFailed, UnsupportedTarget
from edgepress.program import Program
from edgepress.runtime import Target
from edgepress.runtime.remote import Link, link
from edgepress.runtime.remote.bundle import bundle

QUICK = Protocol(rounds=2, min_runs=4, min_seconds=0, min_warmup_runs=1, max_warmup_runs=2)
HERE = Target(nearby.Nearby())


@pytest.fixture(scope="module")
def program() -> Program:
    return tiny_networks.capture(tiny_networks.Residual)


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return convert.to(program, "onnx", tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cache_folder("device")


@pytest.fixture(scope="module")
def there(artifact: Artifact, cache: Path) -> Iterator[runtime.Runner]:
    with runtime.open(artifact, HERE) as opened:
        yield opened


def test_answers_as_the_same_runtime_here(
    there: runtime.Runner, artifact: Artifact, program: Program
) -> None:
    assert there.name() == "onnxruntime"
    with runtime.open(artifact) as here:
        for batch in (3, 1):
            inputs = program.signature.example(batch, seed=batch)
            np.testing.assert_array_equal(there.run(*inputs)[0], here.run(*inputs)[0])
        ours, theirs = (each.layer_outputs(*inputs) for each in (here, there))
    assert [layer.layer for layer in theirs] == [layer.layer for layer in ours]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.value, other.value)
    assert {time.type for time in there.profile(2)} >= {"Conv"}


def test_nothing_lies_on_the_device_but_artifacts_by_hash_and_the_agent(
    there: runtime.Runner, artifact: Artifact, cache: Path
) -> None:
    ours = {f"{artifact.manifest.sha256}.onnx", bundle().name}
    assert {path.name for path in cache.iterdir()} == ours
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    with Link(HERE) as again:
        again.place(artifact)
        assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_inputs_that_do_not_fit_and_files_that_are_broken_are_said_as_here(
    there: runtime.Runner, artifact: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="takes float32"):
        there.run(np.zeros((1, 3, 8, 8), np.float32))
    path = tmp_path / "broken.onnx"
    path.write_bytes(artifact.path.read_bytes()[:2000])
    broken = Artifact.describe(path, artifact.manifest)
    with pytest.raises(BadInput, match="refuses the file") as raised, runtime.open(broken, HERE):
        pass
    assert raised.value.where.startswith("nearby:")


def test_samples_are_taken_there_and_told_under_our_names(artifact: Artifact) -> None:
    seen: list[str] = []
    runners = [runtime.open(artifact), runtime.open(artifact, HERE), runtime.open(artifact, HERE, 2)]
    here, *there = benchmarks.compare(runners, QUICK, progress=lambda task, *counts: seen.append(task))
    for measured in there:
        assert (measured.name, measured.path) == ("model.onnx", str(artifact.path))
        assert (measured.device, measured.runner) == (HERE.place, "onnxruntime")
        assert measured.steps == artifact.manifest.history.names()
        assert len(measured.latency_ms) == 4
        assert measured.comparison == there[0].comparison != here.comparison
    assert [measured.threads for measured in there] == [1, 2]
    assert seen.count("measuring") == 2 * (1 + QUICK.rounds)


def test_an_emulated_device_is_never_timed(artifact: Artifact) -> None:
    """This one says that it is emulated, but nobody counts its instructions: so there is nothing to tell."""
    emulated = Target(nearby.Nearby(emulated=True))
    with pytest.raises(DeviceFailed, match="Instructions cannot be counted"):
        benchmarks.compare([runtime.open(artifact, emulated)], QUICK)
    with pytest.raises(UnsupportedTarget, match="one thread"):
        benchmarks.compare([runtime.open(artifact, emulated, threads=2)], QUICK)


def test_runs_with_numpy_and_a_runtime_alone(artifact: Artifact, program: Program, tmp_path: Path) -> None:
    bare = Target(nearby.Nearby(nearby.bare_python(tmp_path, "numpy", "onnxruntime")))
    inputs = program.signature.example(1)
    with runtime.open(artifact, bare) as runner, runtime.open(artifact) as here:
        np.testing.assert_array_equal(runner.run(*inputs)[0], here.run(*inputs)[0])


def test_a_device_without_the_runtime_is_told_what_to_install(artifact: Artifact, tmp_path: Path) -> None:
    bare = Target(nearby.Nearby(nearby.bare_python(tmp_path, "numpy")))
    with pytest.raises(BackendMissing, match="onnxruntime") as raised, runtime.open(artifact, bare):
        pass
    assert raised.value.hint.endswith("-m pip install onnxruntime, on the device")


def test_a_device_without_numpy_says_so(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(BackendMissing, match="no NumPy"):
        Link(Target(nearby.Nearby(nearby.bare_python(tmp_path)))).__enter__()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kill -KILL $$", r"was killed \(SIGKILL\)"),
        ("echo 'no such thing' >&2; exit 3", r"ended: no such thing \(exit code 3\)"),
        ("echo hello", r"ended: exit code 0"),
        ("yes", "did not come from the edgepress agent"),
    ],
    ids=["killed", "failing", "something else", "chattering"],
)
def test_an_interpreter_that_is_none(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match=said):
        Link(Target(nearby.Nearby(nearby.script(tmp_path / "python", text)))).__enter__()


def test_what_a_shell_prints_as_it_starts_does_not_matter(tmp_path: Path) -> None:
    text = f'echo "Welcome to this board!"; printf "%s" "no line end"; exec {sys.executable} "$@"'
    with Link(Target(nearby.Nearby(nearby.script(tmp_path / "python", text)))) as link:
        assert "onnxruntime" in link.facts.runners


def test_a_device_without_python_and_one_for_another_processor(tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match="no .*/python, or what it starts, on the device"):
        Link(Target(nearby.Nearby(str(tmp_path / "python")))).__enter__()
    foreign = nearby.foreign_program(tmp_path / "foreign")
    with pytest.raises(DeviceFailed, match="built for a different processor"):
        Link(Target(nearby.Nearby(foreign))).__enter__()


def test_an_agent_that_is_killed_between_two_calls(artifact: Artifact, program: Program) -> None:
    with runtime.open(artifact, HERE) as runner:
        runner.run(*program.signature.example(1))
        os.kill(_agent_of(runner), signal.SIGKILL)
        with pytest.raises(DeviceFailed, match=r"was killed \(SIGKILL\)") as raised:
            runner.run(*program.signature.example(1))
        assert "memory" in raised.value.hint


def test_an_agent_that_falls_silent_is_ended(
    artifact: Artifact, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime.open(artifact, HERE) as runner:
        agent = _agent_of(runner)
        os.kill(agent, signal.SIGSTOP)
        monkeypatch.setattr(link, "SILENCE_SECONDS", 0.2)
        with pytest.raises(DeviceFailed, match=r"sent nothing for 0\.2 s"):
            runner.run(*program.signature.example(1))


def test_what_runs_on_this_machine_only(program: Program, tmp_path: Path) -> None:
    saved = program.save(tmp_path / "model.pt2")
    with pytest.raises(UnsupportedTarget, match=r"No runner loads \.pt2 files on other devices"):
        runtime.open(saved, HERE)


def _agent_of(runner: runtime.Runner) -> int:
    """The process of the agent: what the shell started that we started."""
    shell = str(runner._link._process.pid)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "stat").read_text().rpartition(")")[2].split()[1] == shell:
                return int(process.name)
    raise AssertionError("the shell has started nothing")

"""Every family of the zoo, in float32 and int8, through every format, run on every runtime that is installed.

python benchmarks/suites/matrix.py --write docs/backends.md

The file is written anew after every row: a run that is ended has the rows that it came to, `--missing` goes on there, and
`--networks` and `--formats` make some again while the others stay. Each network's files are made and run in a process of its own: what crashes there is a row's outcome, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Literal, get_args

import torch
from _noise import settled  # type: ignore[import-not-found]  # beside this script, not in the package
from _suite import ROOT  # type: ignore[import-not-found]  # the same

from edgepress import compress, convert, isolation, models, runtime
from edgepress.cli._console import print_table, remark
from edgepress.compress.quantize_static import QuantizeStatic
from edgepress.data._arrays import ArrayData
from edgepress.errors import BackendMissing, EdgepressError, UnsupportedModel, UnsupportedTarget
from edgepress.files import replacing
from edgepress.machine import Machine
from edgepress.program import Program, tool_versions
from edgepress.recipe import Recipe
from edgepress.runtime import Target

sys.path.append(str(ROOT / "tests"))
from small_tasks import SMALL, Small  # type: ignore[import-not-found]  # noqa: E402  tests/ is no package

PICTURES: dict[str, tuple[int, ...]] = {
    "lenet5": (1, 32, 32), "mobilenet_v1": (3, 64, 64), "mobilenet_v2": (3, 64, 64), "resnet20": (3, 32, 32),
    "shufflenet_v2": (3, 64, 64), "squeezenet1_1": (3, 64, 64), "vgg11": (3, 32, 32), "resnet18": (3, 64, 64),
    "se_resnet50": (3, 64, 64), "alexnet": (3, 96, 96), "zfnet": (3, 96, 96), "nin_cifar": (3, 32, 32),
    "googlenet": (3, 64, 64), "inception_v3": (3, 99, 99), "inception_v4": (3, 99, 99), "densenet121": (3, 64, 64),
    "xception": (3, 71, 71), "mobilenet_v3_small": (3, 64, 64), "shufflenet_v1": (3, 64, 64),
    "nasnet_a_mobile": (3, 65, 65), "efficientnet_b0": (3, 64, 64),
}  # fmt: skip
"""The classifiers, with pictures as small as they take: what a format can do does not depend on their size."""
TASKS = (
    "ssdlite_mobilenet_v2", "dssd321", "retinanet_resnet50_fpn", "yolov3_tiny", "faster_rcnn_resnet50_fpn", "rfcn_resnet101",
    "fcn8s", "unet", "segnet", "pspnet", "refinenet", "deeplab_v3", "lstm_classifier", "seq2seq_step", "dcgan_generator",
    "bert_small",
)  # fmt: skip
"""What is for other tasks, as narrow as its tests have it."""
NETWORKS: dict[str, Small] = {
    **{name: Small(shape) for name, shape in PICTURES.items()},
    **{name: SMALL[name] for name in TASKS},
}
"""One of each family."""
PRECISIONS = ("float32", "int8")
LONGEST_SECONDS = 1200.0
"""For all files of one network; the slowest tools take a minute for each."""
SAMPLES = 8
"""How many a file is compared on, twice."""
SAMPLES_SEEN = 16
"""How many the int8 networks are calibrated with."""

Status = Literal["passed", "failed", "skipped", "refused", "crashed"]
SKIPPED = "skipped: runtime absent"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Way:
    """A format and a runtime that loads it; no runtime where none does."""

    format: str
    runner: str

    def __str__(self) -> str:
        return f"{self.format} on {self.runner}" if self.runner else self.format


@dataclass(frozen=True)
class Outcome:
    """How one network fared: `text` has the figures, or why not."""

    network: str
    precision: str
    format: str
    runner: str
    status: Status
    text: str

    @property
    def place(self) -> tuple[str, str, Way]:
        """In the table."""
        return self.network, self.precision, Way(self.format, self.runner)


def ways(formats: Iterable[str] | None = None) -> list[Way]:
    """Every format, or these, with every runtime that loads it."""
    return [
        Way(format, runner)
        for format in formats or convert.formats()
        for runner in runtime.runners_of(format) or ("",)
        if not runner or not runtime.find(runner).for_reference
    ]


def absent(way: Way) -> str:
    """What of this way is not installed here, in words; empty where all is."""
    try:
        for edge in convert.route(way.format):
            convert.find(*edge).require()
        if way.runner:
            runtime.find(way.runner).require()
    except (BackendMissing, UnsupportedTarget) as error:
        return error.what
    return "" if way.runner else "no runtime loads it"


def outcomes(
    network: str, precision: str, program: Program, formats: Iterable[str] | None = None
) -> Iterator[Outcome]:
    """Every way of one network: the installed ones in processes apart, started again behind whatever crashes."""
    waiting = []
    for way in ways(formats):
        if absent(way):
            yield Outcome(network, precision, way.format, way.runner, "skipped", SKIPPED)
        else:
            waiting.append(way)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program.save(folder / "program.pt2")
        while waiting:
            command = [sys.executable, __file__, "--ways", *(f"{way.format}:{way.runner}" for way in waiting)]
            ended = isolation.run(command, folder, seconds=LONGEST_SECONDS, environment=dict(os.environ))
            told = _told(folder / "outcomes.jsonl")
            for way, (status, text) in zip(waiting, told, strict=False):
                yield Outcome(network, precision, way.format, way.runner, status, text)
            if len(told) < len(waiting):
                way = waiting[len(told)]
                yield Outcome(network, precision, way.format, way.runner, "crashed", ended.ended)
            waiting = waiting[len(told) + 1 :]


def everything(
    networks: Iterable[str] = NETWORKS, formats: Sequence[str] | None = None
) -> Iterator[list[Outcome]]:
    """Row by row: of each network as it is, and quantized."""
    for network in networks:
        torch.manual_seed(0)
        small = NETWORKS[network]
        program = settled(models.load(network, input_shape=small.shape, options=small.options))
        remark(f"{network}, float32")
        yield list(outcomes(network, "float32", program, formats))
        remark(f"{network}, int8")
        try:
            data = ArrayData(*program.signature.example(SAMPLES_SEEN, seed=3))
            integers = compress.apply(program, Recipe((QuantizeStatic(samples=SAMPLES_SEEN),)), data)
        except UnsupportedModel as error:
            yield [
                Outcome(network, "int8", way.format, way.runner, "refused", error.what)
                for way in ways(formats)
            ]
            continue
        yield list(outcomes(network, "int8", integers, formats))


def _one_after_the_other(texts: Sequence[str]) -> None:
    """In the process apart: convert and run, and write each outcome down before the next is tried."""
    program = Program.load("program.pt2")
    path = Path("outcomes.jsonl")
    path.write_text("")
    for text in texts:
        format, _, runner = text.partition(":")
        try:
            found = _one(program, format, runner)
        except UnsupportedModel as error:
            found = ("refused", error.what)
        except (BackendMissing, UnsupportedTarget):
            found = ("skipped", SKIPPED)
        except EdgepressError as error:
            found = ("failed", error.what)
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")


def _one(program: Program, format: str, runner: str) -> tuple[Status, str]:
    artifact = convert.to(program, format, Path(f"made.{format}"))
    inputs = [program.signature.example(SAMPLES, seed) for seed in range(2)]
    with runtime.open(artifact, Target(runner=runner)) as opened:
        found = runtime.compare(program.run, opened.run, inputs, program.reading)
    precisions = (program.precision, artifact.manifest.precision)
    figures = f"{min(found.sqnr_db, 999):.0f} dB, {artifact.manifest.precision}"
    is_near = found.within(runtime.limit_db(*precisions), runtime.limit_agreement(*precisions))
    return ("passed" if is_near else "failed"), figures


def _told(path: Path) -> list[tuple[Status, str]]:
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [tuple(json.loads(line)) for line in lines]


def page(found: Sequence[Outcome]) -> str:
    """The table as Markdown: a row a network and precision, a column a way."""
    columns = list(dict.fromkeys(Way(each.format, each.runner) for each in found))
    there = {(each.network, each.precision) for each in found}
    rows = [(name, precision) for name in NETWORKS for precision in PRECISIONS if (name, precision) in there]
    cells = {each.place: _cell(each) for each in found}
    table = [
        ["network", "precision", *map(str, columns)],
        ["---"] * (2 + len(columns)),
        *(
            [network, precision, *(cells.get((network, precision, way), NOT_RUN) for way in columns)]
            for network, precision in rows
        ),
    ]
    least = {
        precision: runtime.limit_db(precision, precision) for precision in ("float32", "float16", "int8")
    }
    missing = [
        f"{name} {precision}"
        for name in NETWORKS
        for precision in PRECISIONS
        if (name, precision) not in there
    ]
    versions = ", ".join(f"{name} {version}" for name, version in tool_versions("torch").items())
    return "\n".join([
        "# What runs where", "",
        "Written by `python benchmarks/suites/matrix.py --write docs/backends.md`: each network of a family of the zoo, its",
        "weights random, is converted, and the file's outputs are compared with the network's on the file's own runtime.",
        "The figure is the signal over the difference in decibels (999: bit for bit the same), beside the file's precision;",
        f"a file passes from {least['float32']:.0f} dB on in float32, {least['float16']:.0f} in float16, and {least['int8']:.0f} where both are int8.",
        f"\"{NOT_RUN}\": not made yet, or not since that format changed. Networks and formats are made again one by one: the last",
        f"cells are of {date.today()}, on {platform.machine()} ({Machine.read(Path('/'), platform.release()).processor}); others may be older.", "",
        *(f"| {' | '.join(row)} |" for row in table), "",
        f"{versions}; absent here: {_absent_text(columns) or 'nothing'}. Not in this table: {', '.join(missing) or 'nothing'}.", "",
    ])  # fmt: skip


def standing(text: str) -> list[Outcome]:
    """What a page says of the ways that there are now."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines] or [[], []]
    columns = {str(way): way for way in ways()}
    return [
        Outcome(network, precision, columns[name].format, columns[name].runner, *_read(cell))
        for network, precision, *cells in rows
        for name, cell in zip(head[2:], cells, strict=True)
        if name in columns and cell != NOT_RUN
    ]


def _read(cell: str) -> tuple[Status, str]:
    """The cell of a page, as `_cell` has written it."""
    text = cell.replace("\\|", "|")
    if text == SKIPPED:
        return "skipped", text
    for status in get_args(Status):
        if text.startswith(marked := f"**{status}**: "):
            return status, text.removeprefix(marked)
    return "passed", text


def _cell(outcome: Outcome) -> str:
    if outcome.status in ("passed", "skipped"):
        return outcome.text
    return f"**{outcome.status}**: {outcome.text}".replace("|", "\\|")


def _absent_text(columns: Iterable[Way]) -> str:
    return "; ".join(f"{way} ({absent(way)})" for way in columns if absent(way))


def main() -> bool:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="file for the table")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="which rows [default: all]")
    parser.add_argument(
        "--formats", nargs="+", choices=convert.formats(), help="which columns [default: all]"
    )
    parser.add_argument("--missing", action="store_true", help="only the rows that the file does not have")
    parser.add_argument("--ways", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ways:
        _one_after_the_other(given.ways)
        return True
    stand = standing(given.write.read_text()) if given.write and given.write.exists() else []
    there = {(each.network, each.precision) for each in stand}
    networks = [
        name
        for name in given.networks or NETWORKS
        if not (given.missing and {(name, precision) for precision in PRECISIONS} <= there)
    ]
    found: list[Outcome] = []
    for row in everything(networks, given.formats):
        found += row
        if given.write:
            made = {each.place for each in found}
            with replacing(given.write) as temporary:
                temporary.write_text(page([*(each for each in stand if each.place not in made), *found]))
    if found:
        print_table(list(asdict(found[0])), [list(asdict(each).values()) for each in found])
    return not any(each.status in ("failed", "crashed") for each in found)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

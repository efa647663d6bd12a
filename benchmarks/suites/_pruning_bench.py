"""Prunes, tunes and evaluates one network in several ways and keeps everything it has finished in a folder."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import _peer_pruning as peer  # type: ignore[import-not-found]  # beside this script, not in the package
import torch

from edgepress import cost, models
from edgepress.accuracy import evaluate
from edgepress.cli._console import remark
from edgepress.compress import _batch_norm
from edgepress.compress._training.loop import TrainingStage
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import FineTune
from edgepress.compress.prune_channels import PruneChannels, rewrite
from edgepress.data import Data
from edgepress.files import write_text
from edgepress.models import resnet_cifar
from edgepress.program import Program
from edgepress.stage import Context

SCHEDULE: dict[str, Any] = {
    "epochs": 3,
    "learning_rate": 0.05,
    "warmup": 0.15,
    "weight_decay": 5e-4,
    "batch_size": 128,
    "random_crop": 4,
    "flip": True,
    "holdout": 0,
    "precision": "bfloat16",
}
"""The tuning that every network gets: Nesterov momentum, one cycle, shifted and mirrored pictures."""

TUNINGS: dict[str, TrainingStage] = {
    "fine_tune": FineTune(**SCHEDULE),
    "distill": Distill(**{**SCHEDULE, "learning_rate": 0.02}),
}
"""As many epochs for all. Distillation starts from a refitted network, near its teacher's answers, and takes
smaller steps so as not to lose them."""
PEER_SAMPLES = 1280
"""Pictures for the peer's Taylor gradients."""

SAMPLES = 1024
"""Pictures of the training split for everything that our pruning looks at."""


@dataclass(frozen=True)
class Variant:
    """One way to prune: whose, by which criterion, to how many times fewer multiply-accumulates."""

    maker: Literal["edgepress", "Torch-Pruning"]
    criterion: Literal["l2", "taylor"]
    speedup: int

    @property
    def key(self) -> str:
        """The name of its files."""
        return f"{self.maker.lower()}_{self.criterion}_{self.speedup}x"

    def __str__(self) -> str:
        return f"{self.maker}, {self.criterion}, {self.speedup}x"


class Bench:
    """`figures[key]` has what was measured of the network in the file of that name; all of it survives a restart."""

    def __init__(self, program: Program, data: Data, folder: Path, evaluate_limit: int | None) -> None:
        self.program, self.data, self.folder = program, data, folder
        self._evaluate_limit = evaluate_limit
        self._figures_file = folder / "figures.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.figures: dict[str, dict[str, float]] = (
            json.loads(self._figures_file.read_text("utf-8")) if self._figures_file.exists() else {}
        )
        self._context = Context(original=program, load_model=models.load, data=data)

    def pruned(self, variant: Variant) -> str:
        """The key of the pruned network; its plan and rewrite are timed in CPU seconds of this process."""
        prune = self._prune if variant.maker == "edgepress" else self._prune_by_peer
        return self._kept(variant.key, lambda: prune(variant))

    def recalibrated(self, key: str) -> str:
        """The key of the same network with batch-norm statistics measured anew on our calibration pictures."""

        def make() -> Program:
            batches = self.data.batches("calibrate", self.program.preprocess, batch_size=128, limit=SAMPLES)
            return _batch_norm.reestimated(self.load(key), batches)

        return self._kept(f"{key}_recalibrated", make)

    def tuned(self, key: str, tuning: str) -> str:
        """The key of the network after one of TUNINGS."""

        def make() -> Program:
            return TUNINGS[tuning].apply(self.load(key), self._context).program

        return self._kept(f"{key}_{tuning}", make)

    def load(self, key: str) -> Program:
        return Program.load(self.folder / f"{key}.pt2")

    def accuracy(self, key: str) -> float:
        """Top-1 in percent on the evaluation split, or on as much of it as was asked for."""
        count = self.data.count("evaluate")
        if self.figures.get(key, {}).get("samples") != min(self._evaluate_limit or count, count):
            found = evaluate(
                self.load(key).run, self.data, self.program.preprocess, limit=self._evaluate_limit
            )
            self._note(key, top1=found.percent, samples=found.samples)
        return self.figures[key]["top1"]

    def _kept(self, key: str, make: Callable[[], Program]) -> str:
        if not (self.folder / f"{key}.pt2").exists():
            program = make()
            measured = cost.measure(program)
            self._note(key, macs=measured.macs, parameters=measured.parameters)
            program.save(self.folder / f"{key}.pt2")
            remark(f"{key} is ready")
        return key

    def _note(self, key: str, **figures: float) -> None:
        self.figures.setdefault(key, {}).update(figures)
        write_text(self._figures_file, json.dumps(self.figures, indent=1))

    def _prune(self, variant: Variant) -> Program:
        stage = PruneChannels(macs=1 / variant.speedup, criterion=variant.criterion, samples=SAMPLES)
        started = time.process_time()
        plan = stage.plan(self.program, self._context)
        planned = time.process_time()
        rewrite(self.program, plan)
        rewritten = time.process_time()
        program = stage.carry_out(self.program, plan, self._context).program
        recovery = time.process_time() - rewritten - (rewritten - planned)
        self._note(
            variant.key,
            plan_seconds=planned - started,
            rewrite_seconds=rewritten - planned,
            recovery_seconds=recovery,
        )
        return program

    def _prune_by_peer(self, variant: Variant) -> Program:
        module = resnet_cifar.resnet20()
        module.load_state_dict(self.program.module().state_dict())
        batches = self.data.batches("calibrate", self.program.preprocess, batch_size=128, limit=PEER_SAMPLES)
        example = torch.zeros(1, 3, 32, 32)
        found = peer.prune(module, example, 1 / variant.speedup, variant.criterion, list(batches))
        self._note(variant.key, plan_seconds=found.search_seconds, rewrite_seconds=found.prune_seconds)
        captured = Program.capture(
            found.module, (example.repeat(2, 1, 1, 1),), preprocess=self.program.preprocess
        )
        return dataclasses.replace(captured, labels=self.program.labels)

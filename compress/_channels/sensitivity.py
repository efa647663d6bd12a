"""Prunes every group of channels alone, by several ratios, and measures what that costs the network."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt, MinLen
from torch.fx import GraphModule

from edgepress import graph
from edgepress.accuracy import Score, score_on
from edgepress.compress import _batch_norm
from edgepress.compress._channels.importance import CriterionName
from edgepress.compress._channels.plan import check_prunable
from edgepress.compress._channels.rewrite import remove
from edgepress.compress._channels.scores import Samples, channel_scores
from edgepress.compress._channels.structure import Structure, bundles_of_classes, read_structure
from edgepress.data import Batch, Data, Split
from edgepress.errors import BadInput, UsageError
from edgepress.program import Program
from edgepress.progress import Progress, silent
from edgepress.sensitivity import Part, Question, Sensitivity, Trial


@dataclass(frozen=True, kw_only=True)
class ChannelScan:
    """How to scan: which shares of its channels each group loses, the least important by `criterion` (one of
    prune_channels) first, and how many samples of which split the accuracy is measured on.

    As many samples of `calibrate` serve the criterion and the batch-norms, which are measured anew as
    prune_channels does.
    """

    ratios: Annotated[tuple[Annotated[float, Gt(0), Lt(1)], ...], MinLen(1)] = (0.25, 0.5, 0.75)
    criterion: CriterionName = "l2"
    samples: Annotated[int, Ge(1)] = 256
    batch_size: Annotated[int, Ge(1)] = 64
    split: Split = "calibrate"


def scan_channels(
    program: Program,
    data: Data,
    how: ChannelScan = ChannelScan(),
    *,
    earlier: Sensitivity | None = None,
    progress: Progress = silent,
) -> Iterator[Sensitivity]:
    """What is known so far: first of the whole network, then after each trial; one ratio after the other.

    Channels are really taken out, as by prune_channels; only the export at the end is left out. The trials of
    `earlier`, an interrupted scan that asked the same, are not made again. The idea of such a scan is Li et
    al.'s (2017, Pruning Filters for Efficient ConvNets).
    Raises UnsupportedModel when nothing can be pruned, BadInput for data without labels or samples, and
    UsageError when `earlier` asked something else.
    """
    structure = read_structure(program)
    check_prunable(structure)
    bench = _Bench(program, data, how)
    question = _question(program, data, how, bench.batches)
    if earlier is not None and earlier.question != question:
        raise UsageError(
            "The results in this folder were made with another network, other data or other options.",
            hint="another folder (-o), or --overwrite",
        )
    scores = channel_scores(structure, how.criterion, Samples(name=data.name, batches=bench.calibration))
    groups = [
        classes[np.argsort(score, kind="stable")]
        for classes, score in zip(bundles_of_classes(structure), scores, strict=True)
    ]
    found = earlier or _untried(question, structure, groups, bench)
    yield found
    trials = [(ratio, number) for ratio in sorted(set(how.ratios)) for number in range(len(groups))]
    for done, (ratio, number) in enumerate(trials):
        part = found.parts[number]
        progress(f"pruning alone: {part.name}", done, len(trials))
        kept = _kept(structure, groups[number], max(1, round(ratio * part.channels)))
        if part.trial(ratio) is None and not kept.all():
            found = _with_trial(found, number, bench.trial(ratio, kept))
            yield found
        progress(f"pruning alone: {part.name}", done + 1, len(trials))


class _Bench:
    """Measures pruned graphs, all on the same batches, which are read once."""

    def __init__(self, program: Program, data: Data, how: ChannelScan) -> None:
        self.program, self.data_name = program, data.name
        self.batches = _read(program, data, how, how.split)
        _check_labelled(self.batches, data.name, how.split)
        shared = how.split == "calibrate"
        self.calibration = self.batches if shared else _read(program, data, how, "calibrate")
        self.has_norms = _batch_norm.is_needed(program)

    def trial(self, ratio: float, kept: np.ndarray) -> Trial:
        """The network without the classes that `kept` (bool) leaves out."""
        structure = read_structure(self.program)
        remove(structure.labelling, kept)
        counts = structure.counts(kept)
        return Trial(
            ratio=ratio,
            removed=int((~kept).sum()),
            macs=round(structure.macs(counts)),
            parameters=round(structure.parameters(counts)),
            accuracy=self.settled_accuracy(structure.labelling.graph_module),
        )

    def settled_accuracy(self, graph_module: GraphModule) -> Score:
        """With the batch-norms measured anew, in place."""
        if self.has_norms:
            _batch_norm.reestimate(graph_module, self.calibration)
        return self.accuracy(graph_module)

    def accuracy(self, graph_module: GraphModule) -> Score:
        return score_on(
            lambda *arrays: graph.run(graph_module, arrays),
            self.batches,
            self.data_name,
            self.program.reading,
        )


def _read(program: Program, data: Data, how: ChannelScan, split: Split) -> list[Batch]:
    return list(data.batches(split, program.preprocess, batch_size=how.batch_size, limit=how.samples))


def _check_labelled(batches: Sequence[Batch], name: str, split: Split) -> None:
    if not batches:
        raise BadInput(
            f"The data holds nothing to {split} with.", where=f"data {name}", hint="data with that split"
        )
    if batches[0].labels is None:
        raise BadInput(
            "A sensitivity scan needs labels, and this data has none.",
            where=f"data {name}",
            hint="use class folders, or batches with labels",
        )


def _untried(
    question: Question, structure: Structure, groups: Sequence[np.ndarray], bench: _Bench
) -> Sensitivity:
    parts = (
        Part(
            layers=tuple(layer.name for layer in structure.makers_of(group[0])),
            channels=len(group),
        )
        for group in groups
    )
    return Sensitivity(
        question=question,
        original=bench.accuracy(bench.program.graph_module()),
        reference=bench.settled_accuracy(bench.program.graph_module()),
        macs=structure.given_macs,
        parameters=structure.parameters.before,
        parts=tuple(parts),
    )


def _kept(structure: Structure, group: np.ndarray, count: int) -> np.ndarray:
    """Which classes stay (bool) when the first `count` of the group go, but never all that a tensor has."""
    kept = np.ones(structure.labelling.count, bool)
    left = structure.members.sum(1)
    for number in group.tolist():
        usage = structure.members[:, number]
        if (~kept).sum() < count and (left > usage)[usage > 0].all():
            kept[number] = False
            left = left - usage
    return kept


def _with_trial(found: Sensitivity, number: int, trial: Trial) -> Sensitivity:
    part = found.parts[number]
    trials = tuple(sorted((*part.trials, trial), key=lambda trial: trial.ratio))
    parts = list(found.parts)
    parts[number] = dataclasses.replace(part, trials=trials)
    return dataclasses.replace(found, parts=tuple(parts))


def _question(program: Program, data: Data, how: ChannelScan, batches: Sequence[Batch]) -> Question:
    """All but the ratios, to which others may be added later."""
    stored = {**program.exported.state_dict, **program.exported.constants}
    weights = (value.detach().numpy() for value in stored.values() if isinstance(value, torch.Tensor))
    samples = (array for batch in batches for array in (*batch.inputs, batch.labels))
    return Question(
        network=_hash(str(program.exported.graph), weights),
        samples=_hash(data.name, samples),
        data=data.name,
        split=how.split,
        options={"criterion": how.criterion, "samples": how.samples, "batch_size": how.batch_size},
    )


def _hash(text: str, arrays: Iterable[np.ndarray | None]) -> str:
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

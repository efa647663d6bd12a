"""Runs the float network over the calibration samples and records which values its tensors take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node

from edgepress import graph
from edgepress.compress._channels_last import laid_out
from edgepress.data import Batch
from edgepress.errors import BadInput
from edgepress.signature import Signature


class Watcher(Protocol):
    """Whoever wants to see a tensor's values, batch by batch."""

    def update(self, values: torch.Tensor) -> None: ...


def observe(
    graph_module: GraphModule,
    watchers: Mapping[Node, Sequence[Watcher]],
    batches: Iterable[Batch],
    signature: Signature,
) -> None:
    """Show the values of every node of `watchers` to its watchers, over all batches.

    An activation lives no longer than the network needs it; memory does not grow with the number of samples.
    Raises BadInput for no samples at all, samples that do not fit the signature, and NaN or infinity.
    """
    observer = _Observer(graph_module, watchers)
    with torch.inference_mode():
        for batch in checked(batches, signature):
            observer.run(*laid_out(graph_module, batch.inputs))


def checked(batches: Iterable[Batch], signature: Signature) -> Iterator[Batch]:
    """The same batches; BadInput for none at all, for one that does not fit the signature, and for NaN or infinity."""
    samples = 0
    for batch in batches:
        _check(batch, signature, samples)
        yield batch
        samples += len(batch)
    if not samples:
        raise BadInput("There are no samples to calibrate with.", hint="give data with a calibrate split")


class _Observer(Interpreter):
    """Executes the graph node by node and shows the watched ones' values to their watchers."""

    def __init__(self, graph_module: GraphModule, watchers: Mapping[Node, Sequence[Watcher]]) -> None:
        super().__init__(graph_module)
        self._watchers = watchers

    def run_node(self, n: Node) -> Any:
        computes = n.op == "call_function"
        result = graph.computed(n, self.env.__getitem__) if computes else super().run_node(n)
        for watcher in self._watchers.get(n, ()):
            try:
                watcher.update(result)
            except BadInput as error:
                raise BadInput(
                    f"{error.what} The network makes them from finite calibration samples.",
                    where=f"layer {graph.layer_name(n)}",
                    hint="check the weights and the preprocessing",
                ) from None
        return result


def _check(batch: Batch, signature: Signature, before: int) -> None:
    signature.check_inputs(batch.inputs)
    for spec, array in zip(signature.inputs, batch.inputs, strict=True):
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
            raise BadInput(
                "A calibration sample holds NaN or infinity.",
                where=f"input {spec.name}, sample {before + bad}",
                hint="remove the sample, or fix the preprocessing",
            )

"""What a network that has just lost channels gets back from data without labels: fitted weights, batch-norm statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from edgepress.compress import _batch_norm
from edgepress.compress._reconstruction.refit import reconstructed
from edgepress.compress._reconstruction.targets import Orders
from edgepress.data import Batch
from edgepress.history import Value
from edgepress.program import Program

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import PruneChannels


def recovered(
    options: PruneChannels,
    original: Program,
    pruned: Program,
    orders: Orders,
    batches: Callable[[], Iterable[Batch]],
) -> tuple[Program, dict[str, Value]]:
    """The pruned program as the options want it, and the results to record. Without any batches it stays as it is.

    A refitted layer's batch-norm follows the fit, so statistics are measured only where a layer could not be
    refitted, or none was: measuring all of them anew loses about a point of accuracy on a residual network.
    """
    results: dict[str, Value] = {}
    follows = options.recalibrate_batch_norm and _batch_norm.is_needed(pruned)
    samples = list(batches()) if options.reconstruct or follows else []
    if options.reconstruct:
        if not samples:
            return pruned, {"reconstruction": "none: there is no data to calibrate with"}
        pruned, found = reconstructed(original, pruned, orders, samples)
        follows = follows and bool(found.left)
        errors: dict[str, Value] = {name: [before, after] for name, (before, after) in found.errors.items()}
        results["reconstruction"] = {"samples": found.samples, "errors": errors, "left": dict(found.left)}
    if follows and samples:
        pruned = _batch_norm.reestimated(pruned, samples)
    return pruned, results

"""What a prune's budgets mean for one network: how much of each cost may stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress import cost
from edgepress.compress._channels.budget import Limit
from edgepress.compress._channels.structure import Structure
from edgepress.errors import BadOption
from edgepress.program import Program

if TYPE_CHECKING:
    from edgepress.compress.prune_channels import PruneChannels


def limits(
    options: PruneChannels, program: Program, structure: Structure, original: Program
) -> tuple[Limit, ...]:
    """The limits that the options set, but for latency, which is measured; shares are of `original`.

    BadOption where all of them hold already.
    """
    whole = (structure.given_macs, structure.parameters.before)
    if original is not program:
        measured = cost.measure(original)
        whole = (measured.macs, measured.parameters)
    found = []
    if options.macs is not None:
        found.append(Limit(structure.macs, options.macs * whole[0], "the multiply-accumulates"))
    if options.parameters is not None:
        found.append(Limit(structure.parameters, options.parameters * whole[1], "the parameters"))
    if options.size_bytes is not None:
        found.append(Limit(structure.weight_bytes, options.size_bytes, "the bytes of weights"))
    if found and options.latency is None and all(limit.amount.before <= limit.most for limit in found):
        raise already_met(options.name())
    return tuple(found)


def already_met(where: str) -> BadOption:
    return BadOption(
        "The network already meets this budget, so there is nothing to remove.",
        where=where,
        hint="shares are of the original network, before the first stage; edgepress inspect shows its current cost",
    )

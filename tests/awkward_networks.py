"""Tiny networks with one structural trouble each, for whatever rewrites a graph.

`NETWORKS[name]()` returns the module and its example inputs, with a batch of two.
"""

from __future__ import annotations

import awkward_attention  # noqa: F401  puts its networks on the list
import awkward_operators  # noqa: F401  puts its networks on the list
import awkward_reuse  # noqa: F401  puts its networks on the list
import awkward_stored  # noqa: F401  puts its networks on the list
import awkward_structures  # noqa: F401  puts its networks on the list
from awkward_parts import NETWORKS

__all__ = ["NETWORKS"]

"""The bounds of options that travel to devices: where options are read, they are checked; a device reads none."""

from __future__ import annotations

try:
    from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
except ImportError:  # a device, which has NumPy and a runtime, and for which any function of one value does
    Ge = Gt = Le = Lt = MaxLen = MinLen = repr  # type: ignore[assignment,misc]  # stands in for classes

__all__ = ["Ge", "Gt", "Le", "Lt", "MaxLen", "MinLen"]

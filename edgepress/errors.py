"""Every error edgepress raises on purpose, and the exit code the command line gives it.

    EdgepressError                    1   (never raised itself)
    ├── UsageError                    2   the request cannot be carried out as written
    │   ├── UnknownName                   no such model, stage, format, option ...; names the nearest
    │   ├── BadOption                     a known option with a value it does not take
    │   └── BadInput                      a file or data set that is missing, broken or unfit
    ├── Unsupported                   3   the model or the target cannot do this
    │   ├── UnsupportedModel              names the layer
    │   └── UnsupportedTarget
    ├── VerificationFailed            4   an output departs further than its limit
    ├── BudgetMissed                  5   the budget asked for cannot be reached
    ├── BackendMissing                6   a package or tool is not installed
    └── DeviceFailed                  7   the device did not do its part

A message says what happened, where, and what to do about it. Anything else that reaches the user
as a traceback is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class EdgepressError(Exception):
    """The root: `what` happened, `where` it happened, and the `hint` that leads out."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)

    def on_one_line(self) -> str:
        """The message as it stands in a table, a manifest or a remark."""
        return " ".join(str(self).split())


class UsageError(EdgepressError):
    exit_code = 2


class UnknownName(UsageError):
    """A name that is not on the list; the message gives the nearest one and the whole list."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        what = f"There is no {kind} named {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        super().__init__(what, where=where, hint="one of: " + (", ".join(self.known) or "(none)"))


class BadOption(UsageError):
    pass


class BadInput(UsageError):
    pass


class Unsupported(EdgepressError):
    exit_code = 3


class UnsupportedModel(Unsupported):
    """The network holds something that the step cannot handle; `where` names the user's layer."""


class UnsupportedTarget(Unsupported):
    pass


class VerificationFailed(EdgepressError):
    exit_code = 4


class BudgetMissed(EdgepressError):
    exit_code = 5


class BackendMissing(EdgepressError):
    """A package or tool that is not installed; the hint is the command that installs it."""

    exit_code = 6


class DeviceFailed(EdgepressError):
    exit_code = 7

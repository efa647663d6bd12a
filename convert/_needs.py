"""What an edge between formats needs of the machine that takes it."""

from __future__ import annotations

from edgepress import plugins


class Needs:
    """`requires` and `extra` are as in Runner."""

    @classmethod
    def requires(cls) -> tuple[str, ...]:
        """The packages that the edge imports when it is taken."""
        return ()

    @classmethod
    def extra(cls) -> str:
        """The extra of ours that installs them."""
        return ""

    @classmethod
    def require(cls) -> None:
        """Raise BackendMissing, with the way to get it, unless this machine has what taking the edge needs."""
        plugins.require(*cls.requires(), extra=cls.extra())

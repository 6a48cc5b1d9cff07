"""Language runtimes and what they do with a memory limit; a file for each, with its sources."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cmemrun.model import Runtime
from cmemrun.runtimes.bounds import Bounds, bounds_of
from cmemrun.runtimes.elf import Elf

__all__ = ["Bounds", "Kind", "bounds_of", "kind_of", "title", "to_set", "under"]


class Kind(Protocol):
    """What is known of a runtime. Versions are numbers with dots, empty where not known."""

    TITLE: str

    def version(self, elf: Elf, path: str, arguments: Sequence[str]) -> str | None:
        """Which one the program has; ``None`` where it is one that nothing is known of."""

    def settings(
        self, path: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[str, ...]:
        """What the caller has told it of memory."""

    def is_told(self, version: str, settings: Sequence[str]) -> bool:
        """Whether that is how much it may take."""

    def does(self, version: str, settings: Sequence[str], bounds: Bounds) -> str:
        """What it does with a limit, in words that follow its name."""

    def variables(
        self, version: str, environment: Mapping[str, str], bounds: Bounds
    ) -> dict[str, str]:
        """Variables that have it keep within a limit; none where it has no such."""


def kind_of(name: str) -> Kind | None:
    """What is known of a runtime: loaded where there is a program of it, as there mostly is not."""
    if name == "go":
        from cmemrun.runtimes import go

        return go
    if name == "jvm":
        from cmemrun.runtimes import jvm

        return jvm
    if name == "node":
        from cmemrun.runtimes import node

        return node
    if name == "dotnet":
        from cmemrun.runtimes import dotnet

        return dotnet
    return None  # of a saved run, by a later version


def title(runtime: Runtime) -> str:
    """Its name and version for people."""
    kind = kind_of(runtime.name)
    return f"{kind.TITLE if kind else runtime.name} {runtime.version or ''}".strip()


def under(runtime: Runtime, bounds: Bounds | None) -> Runtime:
    """With what it does within these bounds."""
    kind = kind_of(runtime.name)
    if kind is None or bounds is None:
        return runtime._replace(does="")
    does = kind.does(runtime.version or "", runtime.settings, bounds)
    return runtime._replace(does=f"{title(runtime)} {does}")


def to_set(runtime: Runtime, environment: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """Variables that have it keep within these bounds; none where it has been told something."""
    kind, version = kind_of(runtime.name), runtime.version or ""
    if kind is None or kind.is_told(version, runtime.settings):
        return {}
    return kind.variables(version, environment, bounds)

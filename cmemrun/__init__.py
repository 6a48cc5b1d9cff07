"""Run a program in a memory cgroup of its own and report what it really used.

``measure`` runs a command and returns a ``Run``; ``measure_async`` does so in
asyncio, and ``watch`` measures a process or group that is there already.
"""

# What type checkers take for typing's own, which takes as long to load as all of Python.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from cmemrun.api import Limits, Run, Watch, measure, measure_async, watch
    from cmemrun.errors import (
        BadInput,
        CmemrunError,
        NoGroup,
        NotOffered,
        ProgramNotExecutable,
        ProgramNotFound,
    )
    from cmemrun.model import UNLIMITED, Budget, Exit, Oom, Sample

__version__ = "0.1.0"

__all__ = [
    "UNLIMITED",
    "BadInput",
    "Budget",
    "CmemrunError",
    "Exit",
    "Limits",
    "NoGroup",
    "NotOffered",
    "Oom",
    "ProgramNotExecutable",
    "ProgramNotFound",
    "Run",
    "Sample",
    "Watch",
    "__version__",
    "measure",
    "measure_async",
    "watch",
]


if not TYPE_CHECKING:  # where every misspelt name would be one of any type

    def __getattr__(name: str) -> object:
        """Load a name when it is asked for: the command line, which needs none, starts sooner."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from cmemrun import api, errors, model

        # Where two have a name, a caller's is that of the first.
        module = next(one for one in (api, errors, model) if name in one.__all__)
        globals()[name] = getattr(module, name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

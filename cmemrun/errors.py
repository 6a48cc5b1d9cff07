"""The one family of errors: what happened, to what, and what to do next.

The library raises these; only ``cmemrun.commands`` prints them and exits.
"""

# As in the package's __init__: typing takes long to load.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from threading import Thread

__all__ = [
    "BadInput",
    "CmemrunError",
    "KernelTextError",
    "NoGroup",
    "NotOffered",
    "OutputError",
    "ProgramNotExecutable",
    "ProgramNotFound",
    "WayFailed",
    "cannot_fork",
    "start_thread",
]

_TOO_MANY = "end other processes, or raise the limit: ulimit -u, or pids.max of this shell's group"


class CmemrunError(Exception):
    """A failure of ours, never of the measured program.

    ``hint`` is the next step for whoever reads it, or ``None``.
    ``exit_status`` is what the command line exits with.
    """

    exit_status = 125
    usual_hint: str | None = None
    """The next step after any of this kind that has none of its own."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def cannot_fork(error: OSError) -> CmemrunError:
    """What to say where the kernel makes no process for us."""
    return CmemrunError(f"cannot fork: {error.strerror}", hint=_TOO_MANY)


def start_thread(thread: "Thread") -> None:
    """Start it; ``CmemrunError`` where the kernel makes none for us."""
    try:
        thread.start()
    except RuntimeError as error:  # Python does not say why: EAGAIN mostly
        raise CmemrunError("cannot start a thread", hint=_TOO_MANY) from error


class BadInput(CmemrunError):
    """A value somebody gave us that cannot be used."""


class NoGroup(CmemrunError):
    """No group can be made here, or the one we had cannot be used."""

    usual_hint = "cmemrun doctor tells what would mend that"


class NotOffered(CmemrunError):
    """What is to be judged is nothing that can be measured here."""


class WayFailed(NoGroup):
    """A way to have a group has failed after it had begun with the waiting process.

    That one may be anywhere now, so another ``way`` needs another process.
    """

    def __init__(self, message: str, *, way: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.way = way


class KernelTextError(CmemrunError):
    """A file of the kernel holds something we do not understand."""

    usual_hint = "please report it, with what cmemrun doctor prints"


class OutputError(CmemrunError):
    """A report or a JSON document cannot be written where it was asked for."""

    usual_hint = "name a file in a directory you can write to"


class ProgramNotFound(CmemrunError):
    """There is no such program (the status every shell uses for it)."""

    exit_status = 127


class ProgramNotExecutable(CmemrunError):
    """The program is there and cannot be executed (likewise)."""

    exit_status = 126

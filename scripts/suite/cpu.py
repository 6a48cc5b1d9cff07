"""The CPU time of a command with all its descendants, those that nobody waits for included."""

import contextlib
import secrets
import time
from pathlib import Path

__all__ = ["Meter"]

_ENTER = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')


class Meter:
    """Counts what one command uses, in a cgroup of the hierarchy that counts CPU time.

    Nobody waits for the processes of a user-mode kernel, so getrusage(2) does not have them.
    """

    def __init__(self) -> None:
        self._directory = _make()

    def around(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that has it counted."""
        if self._directory is None:
            return command
        return (*_ENTER, str(self._directory / "cgroup.procs"), *command)

    def close(self) -> float | None:
        """Return the seconds, or ``None`` where no cgroup could be made, and remove the cgroup."""
        if self._directory is None:
            return None
        usage = self._directory / "cpuacct.usage"
        if usage.exists():
            seconds = int(usage.read_text()) / 1e9
        else:
            words = (self._directory / "cpu.stat").read_text().split()
            seconds = int(words[words.index("usage_usec") + 1]) / 1e6
        for _ in range(100):  # the last of its processes may be about to go
            with contextlib.suppress(OSError):
                self._directory.rmdir()
                break
            time.sleep(0.02)
        return seconds


def _make() -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            top = Path(f"/sys/fs/cgroup/{controllers}")
        elif not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            top = Path("/sys/fs/cgroup")
        else:
            continue
        directory = Path(f"{top}{path}", f"suite-{secrets.token_hex(6)}")
        with contextlib.suppress(OSError):
            directory.mkdir()
            return directory
    return None

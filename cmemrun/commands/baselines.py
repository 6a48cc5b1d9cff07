"""What was measured before, to compare with: kept by name, in a file, or in git."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from cmemrun.commands.beside import run_beside
from cmemrun.commands.inputs import MOST_BYTES, parse_measurements, read_measurements
from cmemrun.commands.output import Output, open_output
from cmemrun.errors import BadInput
from cmemrun.identity import User, acting_as, environment_of
from cmemrun.launcher import original_environment
from cmemrun.model import Measurement

__all__ = ["Baseline", "Kept", "open_baseline", "read_baseline"]

_DIRECTORY = ".cmemrun"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Baseline(NamedTuple):
    """Measurements to compare with."""

    source: str
    measurements: tuple[Measurement, ...]

    def of(self, name: str) -> Measurement:
        """The one of a name, or the only one there is; ``BadInput`` where that is not clear."""
        for one in self.measurements:
            if one.name == name:
                return one
        if len(self.measurements) == 1:
            return self.measurements[0]
        raise BadInput(
            f"{self.source!r} has nothing of {name!r}",
            hint="it has " + ", ".join(repr(one.name) for one in self.measurements[:5]),
        )


class Kept(NamedTuple):
    """Where a baseline is to be written, and with whose rights."""

    output: Output
    user: User | None

    def save(self, measurements: Sequence[Measurement]) -> None:
        """Write it as a whole; ``OutputError``."""
        from cmemrun.report.measurements import render

        text = render(measurements)
        with acting_as(self.user):
            self.output.write(text)


def open_baseline(name: str, user: User | None) -> Kept:
    """Try the place of a baseline of this name, below the working directory, as this user."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--save-baseline: {name!r} is no name", hint="letters, digits, dots and dashes"
        )
    with acting_as(user):
        try:
            os.mkdir(_DIRECTORY)
        except FileExistsError:
            pass  # whatever it is: open_output looks at it, and at who laid it
        except OSError as error:
            raise BadInput(
                f"--save-baseline: cannot make {_DIRECTORY}: {error.strerror}",
                hint="go to a directory you can write to",
            ) from error
        return Kept(open_output("--save-baseline", _path(name)), user)


def read_baseline(given: str, user: User | None = None) -> Baseline:
    """A baseline by its name, else a file, else ``REV:FILE`` in git, as this user; ``BadInput``."""
    if "\0" in given:
        raise BadInput("--against: a name cannot hold a NUL byte", hint="leave it out")
    with acting_as(user):
        is_kept = bool(_NAME.fullmatch(given)) and os.path.exists(_path(given))
        path = _path(given) if is_kept else given
        if os.path.exists(path):
            return Baseline(given, tuple(read_measurements(path)))
    if ":" not in given:
        raise BadInput(
            f"--against: there is neither a baseline nor a file {given!r}",
            hint="make one: cmemrun --save-baseline NAME …",
        )
    return Baseline(given, tuple(parse_measurements(given, _from_git(given, user))))


def _path(name: str) -> str:
    return f"{_DIRECTORY}/{name}.json"


def _from_git(given: str, user: User | None) -> bytes:
    """A file's text at some revision. The repository may be a stranger's, and so its settings."""
    revision, _, path = given.partition(":")
    if revision.startswith("-"):  # --end-of-options is known to git 2.30 and newer only
        raise BadInput(f"--against: no revision is called {revision!r}", hint="git log lists them")
    # A path is taken from the directory we are in only if it says so.
    name = _git(user, "rev-parse", "--verify", f"{revision}:./{path}")
    found = name.decode("ascii").strip()
    if int(_git(user, "cat-file", "-s", found)) > MOST_BYTES:
        raise BadInput(
            f"--against: {given!r} is larger than any document of cmemrun's",
            hint="give a file that --json has written",
        )
    # Unlike git show it has nothing to say of what is no file.
    return _git(user, "cat-file", "blob", found)


def _git(user: User | None, *arguments: str) -> bytes:
    # The settings name commands: to look at files before the index is read (":FILE"), and to
    # fetch what is missing.
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    environment = original_environment() | {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}
    rights = {}
    if user is not None and os.geteuid() == 0:
        environment = environment_of(user, environment)
        rights = {"user": user.uid, "group": user.gid, "extra_groups": user.groups}
    done = run_beside("--against", command, env=environment, capture_output=True, **rights)
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip().splitlines()
        raise BadInput(
            f"--against: git: {said[0] if said else done.returncode}",
            hint="git log --all -- FILE lists the revisions that have it",
        )
    return done.stdout

"""``measure`` and ``measure_async``: a command in, a Run out."""

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, Unpack, get_args

from cmemrun import runner
from cmemrun.analysis.budget import judge, parse_assertion
from cmemrun.api.job import Job, Stoppable
from cmemrun.api.limits import Limits
from cmemrun.api.run import Run
from cmemrun.api.streams import Stream, open_streams
from cmemrun.api.values import seconds
from cmemrun.errors import BadInput
from cmemrun.identity import find_user
from cmemrun.launcher import original_environment
from cmemrun.model import Assertion
from cmemrun.sampler import Sampling

__all__ = ["Command", "Options", "measure", "measure_async"]

Command = Sequence[str | os.PathLike[str]]
"""The program and its arguments; the program is searched for as a shell does."""

_LEAST_REFRESH_SECONDS = 0.001

_Backend = Literal["auto", "systemd", "v2", "v1", "proc"]
_Require = Literal["cgroup", "exact"]


class Options(TypedDict, total=False):
    """How to measure a command; every one may be left out."""

    refresh: float | str
    """Time between two full samples, in seconds or as ``"100ms"``; 0.5 seconds."""
    limits: Limits | None
    """What the kernel shall enforce; nothing."""
    timeout: float | str | None
    """After it the program gets SIGTERM; never."""
    grace: float | str
    """After so much more time everything is killed; 5 seconds."""
    env: Mapping[str, str] | None
    """The whole environment, as it is also for another user; the caller's."""
    cwd: str | os.PathLike[str] | None
    """The directory it starts in, and that its name is seen from; the caller's."""
    stdin: Stream
    """A file, a descriptor or ``subprocess.DEVNULL``; the caller's."""
    stdout: Stream
    """Likewise."""
    stderr: Stream
    """Likewise, or ``subprocess.STDOUT``."""
    capture_output: bool
    """Read what it writes: then ``Run.stdout`` and ``Run.stderr`` have it; no."""
    user: str | int | None
    """Run it as somebody else, by name or number, which only root can; no."""
    backend: _Backend
    """The way to have a group; ``"auto"``."""
    require: _Require | None
    """Refuse a lower bound: without a group, or any; no."""
    assertions: Sequence[str]
    """Budgets as ``"anon<=150Mi"``, ``"oom_kill=0"``, judged in ``Run.budgets``; none."""


def measure(command: Command, **options: Unpack[Options]) -> Run:
    """Run a command in a memory group of its own and return what it used.

    Blocks until it has ended; what it left running is ended, and its group is
    removed. Ctrl-C, and whatever else is raised here meanwhile, ends it, too.

    ``command`` is a list of words; no shell is involved. ``options`` are

    * ``refresh=0.5``: seconds between two full samples, or ``"100ms"``.
    * ``limits=None``: ``Limits(max="512Mi")``.
    * ``timeout=None``, ``grace=5.0``: when it gets SIGTERM, and how long after that
      SIGKILL; seconds or ``"1m30s"``.
    * ``env=None``, ``cwd=None``, ``stdin=None``, ``stdout=None``, ``stderr=None``,
      ``capture_output=False``: as in ``subprocess.run``, without ``PIPE``; the text is
      in ``Run.stdout`` and ``Run.stderr``.
    * ``user=None``: whom to run it as, by root; the caller's environment is made that
      user's, ``env`` is taken as it is.
    * ``backend="auto"``: or ``"systemd"``, ``"v2"``, ``"v1"``, ``"proc"``.
    * ``require=None``: ``"cgroup"`` refuses to do without a group, and ``"exact"``
      whatever is a lower bound.
    * ``assertions=()``: budgets such as ``"anon<=150Mi"``, judged in ``Run.budgets``.

    Raises ``ProgramNotFound``, ``ProgramNotExecutable``, ``BadInput`` for what cannot
    be used, ``NoGroup`` where no group can be had as required, and ``NotOffered``
    where something asserted cannot be measured. How the program ended is in
    ``Run.exit`` and is no error, nor is a broken budget.
    """
    with _job(command, options) as job:
        job.start()
        return job.future.result()


async def measure_async(command: Command, **options: Unpack[Options]) -> Run:
    """The same without blocking the loop of asyncio; takes and raises what ``measure`` does.

    Cancelled, it ends the program and removes its group before it returns.
    """
    with _job(command, options) as job:
        return await job.outcome()


def _job(command: Command, options: Options) -> Job[Run]:
    known = Options.__optional_keys__
    for name in options:
        if name not in known:
            raise TypeError(f"measure() got an unexpected keyword argument {name!r}")
    words = _words(command)
    settings, environment = _settings(options), _environment(options.get("env"))
    assertions = _assertions(options.get("assertions", ()))
    settings = settings._replace(needs=tuple(one.metric for one in assertions))

    def work(waiter: Stoppable) -> Run:
        with open_streams(
            options.get("stdin"),
            options.get("stdout"),
            options.get("stderr"),
            capture_output=options.get("capture_output", False),
            user=settings.user,
        ) as captured:
            run = runner.measure(
                words,
                settings._replace(streams=captured.streams),
                waiter=waiter,
                environment=environment,
            )
        return Run._make(run)._replace(
            budgets=judge(run, assertions),
            stdout=captured.stdout.text if captured.stdout else None,
            stderr=captured.stderr.text if captured.stderr else None,
        )

    return Job(work)


def _settings(options: Options) -> runner.Settings:
    refresh = seconds("refresh", options.get("refresh", 0.5), least=_LEAST_REFRESH_SECONDS)
    limits, user = options.get("limits"), options.get("user")
    backend, require = options.get("backend", "auto"), options.get("require")
    _one_of("backend", backend, get_args(_Backend))
    _one_of("require", require, (None, *get_args(_Require)))
    cwd, timeout = options.get("cwd"), options.get("timeout")
    return runner.Settings(
        sampling=Sampling(refresh_seconds=refresh),
        limits=(limits or Limits()).in_bytes(),
        timeout_seconds=None if timeout is None else seconds("timeout", timeout),
        grace_seconds=seconds("grace", options.get("grace", 5.0)),
        backend=backend,
        require=require,
        user=None if user is None else find_user(str(user)),
        is_users_environment=options.get("env") is not None,
        directory=None if cwd is None else os.fspath(cwd),
    )


def _one_of(name: str, value: object, known: Sequence[object]) -> None:
    """``BadInput`` for what is none of them, which would else go unnoticed."""
    if value not in known:
        choices = ", ".join(map(repr, known))
        raise BadInput(f"{name}: there is no {value!r}", hint=f"choose one of {choices}")


def _assertions(texts: Sequence[str]) -> list[Assertion]:
    if isinstance(texts, str):
        raise BadInput("assertions: a list of texts is wanted", hint=f"write [{texts!r}]")
    return [parse_assertion(text) for text in texts]


def _words(command: Command) -> list[str]:
    if isinstance(command, str):
        raise BadInput("a command is a list of words", hint='write ["./myapp", "--flag"]')
    if not command:
        raise BadInput("there is no program to run", hint='write ["./myapp", "--flag"]')
    return [os.fspath(word) for word in command]


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """A copy, as the caller's may change meanwhile; ``BadInput`` for what no program can have."""
    environment = original_environment() if env is None else dict(env)
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise BadInput(
                f"env: {name!r} is no name, or has no value, that a program can have",
                hint="a name has no = and no NUL, a value no NUL",
            )
    return environment

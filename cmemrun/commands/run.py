"""``cmemrun [run] [OPTIONS] [--] PROGRAM [ARG]...``: measure one program."""

import os
import signal
import sys
from typing import TYPE_CHECKING

from cmemrun import units
from cmemrun.commands.console import log_everything
from cmemrun.commands.options.run import PROFILES, Linger, RunOptions
from cmemrun.commands.publication import Publication, open_publication
from cmemrun.errors import BadInput
from cmemrun.launcher import original_environment
from cmemrun.model import Assertion, Limits
from cmemrun.runner import Settings, measure
from cmemrun.signals import Foreground, end_interrupted

if TYPE_CHECKING:
    from cmemrun.commands.profiles import Profile

__all__ = ["run"]


def run(command: list[str], options: RunOptions) -> int:
    """Run PROGRAM in a memory cgroup of its own and report what it really used.

    The report goes to standard error, so the program's output stays its own; the
    exit status is the program's, 128+N where a signal ended it, 123 for a broken
    budget, 124 for the time limit, 125 where cmemrun itself failed.

    \b
    Examples:
      cmemrun ./myapp --flag
      cmemrun --refresh 100ms --json run.json -- make -j2
      cmemrun --limit 512Mi --max-peak 400Mi -- python3 job.py
      cmemrun --k8s-limit 1Gi --k8s-request 512Mi -- ./myapp

    Other verbs, each with --help: attach, doctor, fit, plot, recommend,
    report.
    """
    if options.debug:
        log_everything()

    profile = _profile(options)
    if options.explain:
        from cmemrun.commands.explanation import explain

        if profile is None:
            raise BadInput(
                "--explain: there are no rules", hint="give --k8s-limit, --pod or --docker"
            )
        return explain(profile, options.json)
    if not command:
        raise BadInput(
            "there is no program to run",
            hint="cmemrun [OPTIONS] [--] PROGRAM [ARG]..., for one called run: cmemrun -- run",
        )
    with open_publication(options) as publication:
        return _measure(command, options, profile, publication)


def _measure(
    command: list[str], options: RunOptions, profile: "Profile | None", publication: Publication
) -> int:
    assertions = options.assertions
    if options.max_peak is not None:
        assertions = (Assertion("peak", options.max_peak), *assertions)
    settings = Settings(
        sampling=publication.sampling,
        limits=_limits(options, profile),
        strict_limits=profile is None,
        rules=profile.settings if profile else (),
        notes=profile.warnings if profile else (),
        timeout_seconds=options.timeout,
        grace_seconds=options.grace,
        linger=options.linger is Linger.WAIT,
        parent=options.parent,
        backend=options.backend.value,
        require=options.require.value if options.require else None,
        user=options.user,
        needs=tuple(one.metric for one in assertions),
    )
    # While the sampler is at work a signal would else wait 5 ms for its turn.
    sys.setswitchinterval(0.0005)
    with Foreground() as waiter, publication.shown(waiter):
        measured = measure(
            command,
            settings,
            waiter=waiter,
            environment=original_environment(),
            meanwhile=lambda: _load_what_comes_later(document=publication.has_document),
            observers=publication.observers,
        )
    if assertions:
        from cmemrun.analysis.budget import judge

        measured = measured._replace(budgets=judge(measured, assertions))
    status = publication.publish(measured)
    if measured.budgets:
        from cmemrun.commands.verdict import say_budgets

        broken = say_budgets(measured.budgets)
        status = status or (0 if options.report_only else broken)
    # Whoever presses Ctrl-C in a loop of a shell means the loop; the shell ends
    # it when it sees us end by the signal, which to it has the same status.
    # Without a shell (we lead the session) nobody looks.
    if (
        measured.exit.signal == signal.SIGINT
        and waiter.interrupted_by_terminal
        and os.getsid(0) != os.getpid()
    ):
        end_interrupted()
    return status


def _profile(options: RunOptions) -> "Profile | None":
    if all(getattr(options, name) is None for name in PROFILES):
        return None
    from cmemrun.commands.profiles import profile_of

    return profile_of(options)


def _limits(options: RunOptions, profile: "Profile | None") -> Limits:
    """What was asked for by name goes before what follows from somebody's rules."""
    asked = Limits(
        max_bytes=options.limit,
        oom_group=options.oom_group,
        high_bytes=options.high,
        low_bytes=options.low,
        min_bytes=options.min,
        swap_max_bytes=options.swap,
        zswap_max_bytes=options.zswap,
        pids_max=options.pids,
        oom_score_adj=options.oom_score_adj,
        files=options.set,
    )
    if profile is None:
        return asked
    given = {name: value for name, value in asked._asdict().items() if value not in (None, ())}
    return profile.limits._replace(**given)


def _load_what_comes_later(*, document: bool) -> None:
    import datetime  # noqa: F401 (for the Run)

    import cmemrun.report.terminal

    units.format_size(2**20)
    if document:
        import cmemrun.report.document  # noqa: F401

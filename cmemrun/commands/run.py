"""``cmemrun [run] [OPTIONS] [--] PROGRAM [ARG]...``: measure one program."""

import signal
from typing import TYPE_CHECKING

from cmemrun.commands.console import log_everything
from cmemrun.commands.measuring import measure_once
from cmemrun.commands.options.run import PROFILE_DETAILS, PROFILES, RunOptions, are_repeats_wanted
from cmemrun.commands.publication import Publication, open_publication
from cmemrun.errors import BadInput
from cmemrun.signals import end_interrupted

if TYPE_CHECKING:
    from cmemrun.commands.profiles import Profile

__all__ = ["run"]


def run(command: list[str], options: RunOptions) -> int:
    """Run PROGRAM in a memory cgroup of its own and report what it really used.

    The report goes to standard error. The exit status is the program's, 123 for a
    broken budget, 124 for the time limit, 125 where cmemrun itself failed.

    \b
    Examples:
      cmemrun ./myapp --flag
      cmemrun --refresh 100ms --json run.json -- make -j2
      cmemrun --limit 512Mi --max-peak 400Mi -- python3 job.py
      cmemrun --runs 10 --against base.json --fail-on 5% -- ./bench
      cmemrun --k8s-limit 1Gi --k8s-request 512Mi -- ./myapp
    """
    if options.debug:
        log_everything()

    profile = _profile(options)
    if options.explain:
        from cmemrun.commands.explanation import explain

        if profile is None:
            raise BadInput(
                "--explain: there are no rules",
                hint="give --k8s-limit, --pod, --docker or --podman",
            )
        return explain(profile, options.json)
    if not command:
        raise BadInput(
            "there is no program to run",
            hint="write cmemrun ./myapp, or see cmemrun --help; one called run: cmemrun -- run",
        )
    if options.budget is not None:
        from cmemrun.commands.budget_file import budgets_for

        options = budgets_for(command, options)
    if are_repeats_wanted(options):
        from cmemrun.commands.repeats import repeat

        return repeat(command, options, profile)
    with open_publication(options) as publication:
        return _measure(command, options, profile, publication)


def _measure(
    command: list[str], options: RunOptions, profile: "Profile | None", publication: Publication
) -> int:
    measured = measure_once(command, options, profile, publication)
    run = measured.run
    from cmemrun.report.measurements import of_run

    status = publication.publish([of_run(run)])
    if run.budgets:
        from cmemrun.commands.verdict import say_budgets

        broken = say_budgets(run.budgets)
        status = status or (0 if options.report_only else broken)
    if run.exit.signal == signal.SIGINT and measured.was_interrupted_by_terminal:
        end_interrupted()
    return status


def _profile(options: RunOptions) -> "Profile | None":
    if all(getattr(options, name) is None for name in PROFILES):
        for name in PROFILE_DETAILS:
            if getattr(options, name):
                raise BadInput(
                    f"--{name.replace('_', '-')} is for somebody's rules, and there are none",
                    hint="give --pod or --k8s-limit",
                )
        return None
    from cmemrun.commands.profiles import profile_of

    return profile_of(options)

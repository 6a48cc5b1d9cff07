"""One run of a program as the options ask for it, with its budgets judged."""

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cmemrun import units
from cmemrun.commands.options.run import Linger, RunOptions
from cmemrun.commands.publication import Publication, sampling_of
from cmemrun.launcher import original_environment
from cmemrun.model import Assertion, Limits, Run
from cmemrun.runner import Settings, measure
from cmemrun.signals import Foreground

if TYPE_CHECKING:
    from cmemrun.commands.profiles import Profile

__all__ = ["Measured", "measure_once"]


class Measured(NamedTuple):
    """A run, and who wanted it to end."""

    run: Run
    was_interrupted: bool
    """Somebody pressed Ctrl-C, or sent us a signal that ends."""
    was_interrupted_by_terminal: bool


def measure_once(
    command: Sequence[str],
    options: RunOptions,
    profile: "Profile | None",
    publication: Publication | None = None,
) -> Measured:
    """Run it; ``publication`` is whose observers take part."""
    limits, environment = _limits(options, profile), original_environment()
    notes = profile.warnings if profile else ()
    added: dict[str, str] = {}
    if options.runtime_env:
        from cmemrun.commands.runtime import setting_for

        added, note = setting_for(command, environment, limits)
        environment |= added
        notes += (note,) if note else ()
    assertions = options.assertions
    if options.max_peak is not None:
        assertions = (Assertion("peak", options.max_peak), *assertions)
    settings = Settings(
        sampling=sampling_of(options, publication),
        limits=limits,
        strict_limits=profile is None,
        rules=profile.settings if profile else (),
        notes=notes,
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
    with Foreground() as waiter, publication.shown(waiter) if publication else _nothing():
        run = measure(
            command,
            settings,
            waiter=waiter,
            environment=environment,
            meanwhile=lambda: _load_what_comes_later(
                document=publication is not None and publication.has_document
            ),
            observers=publication.observers if publication else (),
        )
    from cmemrun.commands.runtime import with_runtime

    run = with_runtime(run, command, environment, added)
    if assertions:
        from cmemrun.analysis.budget import judge

        run = run._replace(budgets=judge(run, assertions))
    return Measured(run, waiter.asked_to_end, waiter.interrupted_by_terminal)


def _nothing() -> contextlib.nullcontext[None]:
    return contextlib.nullcontext()


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

    import cmemrun.commands.runtime
    import cmemrun.report.terminal

    units.format_size(2**20)
    if document:
        import cmemrun.report.measurements  # noqa: F401

"""The program's language runtime in a run: what it does, and with ``--runtime-env`` is told."""

import os
from collections.abc import Mapping, Sequence

from cmemrun.errors import BadInput
from cmemrun.kernel.hierarchy import detect
from cmemrun.log import Log
from cmemrun.model import Limits, Run
from cmemrun.runtimes import Bounds, bounds_of, title, to_set, under
from cmemrun.runtimes.bounds import BESIDE
from cmemrun.runtimes.recognition import find, recognize

__all__ = ["setting_for", "with_runtime"]

log = Log(__name__)


def setting_for(
    command: Sequence[str], environment: Mapping[str, str], limits: Limits
) -> tuple[dict[str, str], str]:
    """The variables of ``--runtime-env``, or none and why not.

    Raises ``BadInput`` where nothing can be set, so that nobody relies on it.
    """
    bounds = _bounds(limits)
    if bounds is None:
        raise BadInput(
            "--runtime-env: there is no limit below the machine's memory to tell a runtime of",
            hint="give --limit, --k8s-limit, --pod or --docker",
        )
    program = find(command, environment)
    if program is None:
        return {}, ""  # there is none: its launch says so best
    runtime = recognize(program, environment, sparing=True)
    if runtime is None:
        raise BadInput(
            f"--runtime-env: {program.path!r} is no Go, HotSpot JVM, .NET or Node program",
            hint="name the program itself: what a shell script starts is not looked at",
        )
    added = to_set(runtime, environment, bounds)
    if not added and not runtime.settings:
        raise BadInput(
            f"--runtime-env: {title(runtime)} has no variable for a memory limit",
            hint="build it with Go 1.19 or newer",
        )
    told = ", ".join(runtime.settings)
    return added, "" if added else f"--runtime-env has set nothing, as there is {told}"


def with_runtime(
    measured: Run,
    command: Sequence[str],
    environment: Mapping[str, str],
    added: Mapping[str, str],
) -> Run:
    """The run with what its program is made with, and does with the limit."""
    try:
        program = find(command, environment)
        runtime = program and recognize(program, environment)
        runtime = runtime and under(runtime, _bounds(measured.limits))
    except Exception as error:
        # Whatever the files of others have in them, which is not looked at before:
        # what has been measured is not to be lost for it.
        log.debug("runtime of=%r error=%r", command[0], error)
        runtime = None
    if not runtime:
        return measured
    return measured._replace(runtime=runtime._replace(environment=tuple(added.items())))


def _bounds(limits: Limits) -> Bounds | None:
    hierarchy = detect()
    memory = hierarchy.memory
    return bounds_of(
        limits,
        unified=memory is None or memory.version == 2,
        whole=all(hierarchy.v1(name) for name in BESIDE),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )

"""A Run as a versioned document, to be written as JSON.

History of the format: names are added, none is renamed or given another meaning.

1   the first
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from cmemrun.errors import BadInput
from cmemrun.model import (
    UNLIMITED,
    Budget,
    Composition,
    Environment,
    Events,
    Exit,
    Limit,
    Limits,
    Method,
    Oom,
    OomVictim,
    Peaks,
    Pressure,
    Process,
    Run,
    Sample,
    Straggler,
    Unlimited,
)
from cmemrun.report.text import unicode_text

__all__ = ["SCHEMA", "parse", "render", "to_document"]

SCHEMA = 1


def render(run: Run) -> str:
    """The document as JSON text, in ASCII."""
    return json.dumps(to_document(run), indent=1, allow_nan=False) + "\n"


def to_document(run: Run) -> dict[str, Any]:
    """The document: sizes are integers in bytes, ``None`` is what the kernel does not say."""
    return {
        "schema": SCHEMA,
        "command": [unicode_text(word) for word in run.command],
        "user": run.user,
        "pid": run.pid,
        "started_at": run.started_at.isoformat(),
        "wall_seconds": run.wall_seconds,
        "cpu_user_seconds": run.cpu_user_seconds,
        "cpu_system_seconds": run.cpu_system_seconds,
        "exit": {
            "status": run.exit.status,
            "code": run.exit.code,
            "signal": run.exit.signal,
            "timed_out": run.exit.timed_out,
        },
        "environment": run.environment._asdict(),
        "method": run.method._asdict()
        | {"group": unicode_text(run.method.group), "notes": list(run.method.notes)},
        "limits": {
            "max_bytes": _limit(run.limits.max_bytes),
            "oom_group": run.limits.oom_group,
        },
        "peak_bytes": run.peak_bytes,
        "upper_bound_bytes": run.upper_bound_bytes,
        "peak_working_set_bytes": run.peaks.working_set_bytes,
        "peak_anon_bytes": run.peaks.anon_bytes,
        "peak_file_bytes": run.peaks.file_bytes,
        "peak_kernel_bytes": run.peaks.kernel_bytes,
        "peak_swap_bytes": run.peaks.swap_bytes,
        "peak_tasks": run.peaks.tasks,
        "at_peak": _sample(run.at_peak)
        | {
            "composition": run.at_peak.composition and run.at_peak.composition._asdict(),
            "processes": [_process(process) for process in run.at_peak.processes],
            "processes_elapsed_seconds": run.at_peak.processes_elapsed_seconds,
        },
        "at_exit": _sample(run.at_exit),
        "events": run.events._asdict(),
        "pressure": run.pressure and run.pressure._asdict(),
        "oom": _oom(run.oom),
        "budgets": [_budget(budget) for budget in run.budgets],
        "stragglers": [
            {
                "pid": straggler.pid,
                "name": straggler.name and unicode_text(straggler.name),
                "command": [unicode_text(word) for word in straggler.command],
            }
            for straggler in run.stragglers
        ],
        "samples": [_sample(sample) for sample in run.samples],
    }


def _process(process: Process) -> dict[str, Any]:
    return process._asdict() | {
        "name": unicode_text(process.name),
        "command": [unicode_text(word) for word in process.command],
    }


def _oom(oom: Oom) -> dict[str, Any]:
    return {
        "verdict": oom.verdict,
        "limit": oom.limit,
        "victims": [
            victim._asdict() | {"name": unicode_text(victim.name)} for victim in oom.victims
        ],
        "evidence": [unicode_text(text) for text in oom.evidence],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "elapsed_seconds": sample.elapsed_seconds,
        "usage_bytes": sample.usage_bytes,
        "working_set_bytes": sample.working_set_bytes,
        "anon_bytes": sample.anon_bytes,
        "file_bytes": sample.file_bytes,
        "kernel_bytes": sample.kernel_bytes,
        "shmem_bytes": sample.shmem_bytes,
        "sock_bytes": sample.sock_bytes,
        "inactive_file_bytes": sample.inactive_file_bytes,
        "swap_bytes": sample.swap_bytes,
        "tasks": sample.tasks,
    }


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "metric": budget.metric,
        "allowed": budget.allowed,
        "measured": budget.measured,
        "passed": budget.passed,
        "margin": budget.margin,
        "certainty": budget.certainty,
    }


def _limit(limit: Limit) -> int | str | None:
    return limit.value if isinstance(limit, Unlimited) else limit


def parse(text: str) -> Run:
    """A Run from its document; what a later cmemrun has added to it is passed over.

    Raises ``BadInput`` for anything that is no such document.
    """
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"it is no JSON: {error}") from error
    try:
        if read["schema"] != SCHEMA:
            raise BadInput(
                f"it has schema {read['schema']!r}, and this cmemrun knows {SCHEMA}",
                hint="read it with the cmemrun that wrote it, or a newer one",
            )
        return _run(read)
    except BadInput:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"it is no document of cmemrun's ({type(error).__name__}: {error})",
            hint="give a file that cmemrun --json has written",
        ) from error


def _run(read: Mapping[str, Any]) -> Run:
    limit = read["limits"]["max_bytes"]
    return Run(
        command=_words(read["command"]),
        user=_checked(read.get("user"), str | None),
        pid=_checked(read.get("pid", 0), int),
        started_at=datetime.fromisoformat(read["started_at"]),
        wall_seconds=_checked(read["wall_seconds"], float),
        cpu_user_seconds=_checked(read["cpu_user_seconds"], float),
        cpu_system_seconds=_checked(read["cpu_system_seconds"], float),
        exit=_tuple(Exit, read["exit"]),
        environment=_tuple(Environment, read["environment"]),
        method=_tuple(Method, read["method"] | {"notes": _words(read["method"]["notes"])}),
        limits=Limits(
            max_bytes=UNLIMITED if limit == UNLIMITED.value else _checked(limit, int | None),
            oom_group=_checked(read["limits"]["oom_group"], bool | None),
        ),
        peak_bytes=_checked(read["peak_bytes"], int),
        upper_bound_bytes=_checked(read.get("upper_bound_bytes"), int | None),
        peaks=_tuple(Peaks, {name: read[f"peak_{name}"] for name in Peaks._fields}),
        at_peak=_sample_of(read["at_peak"]),
        at_exit=_sample_of(read["at_exit"]),
        events=_tuple(Events, read["events"]),
        pressure=_optional(Pressure, read.get("pressure")),
        oom=_oom_of(read.get("oom") or {"verdict": "none"}),
        samples=tuple(_sample_of(sample) for sample in read["samples"]),
        stragglers=tuple(
            _tuple(Straggler, one | {"command": _words(one["command"])})
            for one in read["stragglers"]
        ),
        budgets=tuple(_tuple(Budget, one) for one in read["budgets"]),
    )


def _sample_of(read: Mapping[str, Any]) -> Sample:
    more = {
        "composition": _optional(Composition, read.get("composition")),
        "processes": tuple(
            _tuple(Process, one | {"command": _words(one["command"])})
            for one in read.get("processes", ())
        ),
    }
    return _tuple(Sample, dict(read) | more)


def _oom_of(read: Mapping[str, Any]) -> Oom:
    return Oom(
        verdict=_checked(read["verdict"], str),
        limit=_checked(read.get("limit"), str | None),
        victims=tuple(_tuple(OomVictim, one) for one in read.get("victims", ())),
        evidence=_words(read.get("evidence", ())),
    )


_Tuple = TypeVar("_Tuple", bound=NamedTuple)


def _tuple(kind: Callable[..., _Tuple], read: Mapping[str, Any]) -> _Tuple:
    """A named tuple of those names that it has; the others are of a later version."""
    hints = get_type_hints(kind)
    known = {name: value for name, value in read.items() if name in hints}
    for name, value in known.items():
        if not _fits(value, hints[name]):
            raise TypeError(f"{name} is {value!r}")
    return kind(**known)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is what a field of the model holds."""
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is float:
        return type(value) in (int, float)
    # Not isinstance for plain ones: True is an int to Python, and no size.
    plain = hint in (int, str, bool, NoneType)
    return type(value) is hint if plain else isinstance(value, get_origin(hint) or hint)


def _optional(kind: Callable[..., _Tuple], read: Mapping[str, Any] | None) -> _Tuple | None:
    return None if read is None else _tuple(kind, read)


def _words(read: Any) -> tuple[str, ...]:
    if not all(isinstance(word, str) for word in read) or isinstance(read, str):
        raise TypeError(f"{read!r} is no list of words")
    return tuple(read)


def _checked(value: Any, hint: Any) -> Any:
    if not _fits(value, hint):
        raise TypeError(f"{value!r} is not what is expected")
    return value

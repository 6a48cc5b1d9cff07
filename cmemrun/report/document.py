"""A Run as a versioned document, to be written as JSON.

History of the format: names are added, none is renamed or given another meaning.

1   the first
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from cmemrun.analysis.views import as_others_show
from cmemrun.errors import BadInput
from cmemrun.model import Budget, Run, Runtime, Sample
from cmemrun.report.text import unicode_text

__all__ = [
    "SCHEMA",
    "budget_of",
    "load",
    "named_from",
    "parse",
    "render",
    "run_from",
    "sample_from",
    "sample_of",
    "to_document",
]

SCHEMA = 1

# A larger number is none of the kernel's.
_LARGEST = 2**64


def render(run: Run) -> str:
    """The document as JSON text, in ASCII."""
    return json.dumps(to_document(run), indent=1, allow_nan=False) + "\n"


def to_document(run: Run) -> dict[str, Any]:
    """The document: sizes are integers in bytes, ``None`` is what the kernel does not say."""
    return {
        "schema": SCHEMA,
        "command": _plain(run.command),
        "user": run.user,
        "pid": run.pid,
        "started_at": run.started_at.isoformat(),
        "wall_seconds": run.wall_seconds,
        "cpu_user_seconds": run.cpu_user_seconds,
        "cpu_system_seconds": run.cpu_system_seconds,
        "exit": {"status": run.exit.status} | _plain(run.exit),
        "environment": _plain(run.environment),
        "method": _plain(run.method),
        "limits": _plain(run.limits),
        "runtime": run.runtime
        and _plain(run.runtime) | {"environment": dict(_plain(run.runtime.environment))},
        "rules": _plain(run.rules),
        "peak_bytes": run.peak_bytes,
        "upper_bound_bytes": run.upper_bound_bytes,
        **{f"peak_{name}": value for name, value in run.peaks._asdict().items()},
        "at_peak": sample_of(run.at_peak)
        | {
            "composition": _plain(run.at_peak.composition),
            "processes": _plain(run.at_peak.processes),
            "processes_elapsed_seconds": run.at_peak.processes_elapsed_seconds,
        },
        "at_peak_anon": run.at_peak_anon and sample_of(run.at_peak_anon),
        "at_peak_working_set": run.at_peak_working_set and sample_of(run.at_peak_working_set),
        "at_exit": sample_of(run.at_exit),
        "events": _plain(run.events),
        "pressure": _plain(run.pressure),
        "paging": _plain(run.paging),
        "bpf_maps": _plain(run.bpf_maps),
        "bpf_maps_charged": run.bpf_maps_charged,
        "oom": _plain(run.oom._replace(last_samples=()))
        | {"last_samples": [sample_of(sample) for sample in run.oom.last_samples]},
        "shown_by": _plain(tuple(as_others_show(run))),
        "budgets": [budget_of(budget) for budget in run.budgets],
        "stragglers": _plain(run.stragglers),
        "samples": [sample_of(sample) for sample in run.samples],
    }


def budget_of(budget: Budget) -> dict[str, Any]:
    """A budget's part of the document."""
    told: dict[str, Any] = _plain(budget)
    return told | {"passed": budget.passed, "margin": budget.margin}


def sample_of(sample: Sample) -> dict[str, Any]:
    """A sample's part of the document; the processes where it has some."""
    told = {
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
        "oom_kill": sample.events.oom_kill,
        "pressure": _plain(sample.pressure),
    }
    if sample.processes:
        told["processes"] = _plain(sample.processes)
        told["processes_elapsed_seconds"] = sample.processes_elapsed_seconds
    return told


def _plain(value: Any) -> Any:
    """A value of the model as JSON has it."""
    if isinstance(value, str):
        return unicode_text(value)
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def parse(text: str) -> Run:
    """A Run from its document; what a later cmemrun has added to it is passed over.

    Raises ``BadInput`` for anything that is no such document.
    """
    return run_from(load(text))


def load(text: str) -> Any:
    """What JSON text holds; ``BadInput`` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"it is no JSON: {error}", hint="give what --json or --record has written"
        ) from error


def run_from(read: Any) -> Run:
    """A Run from a document that is no text any more; ``BadInput`` as ``parse``."""
    try:
        if read["schema"] != SCHEMA:
            raise BadInput(
                f"it has schema {read['schema']!r}, and this cmemrun knows {SCHEMA}",
                hint="read it with the cmemrun that wrote it, or a newer one",
            )
        told = {
            **read,
            "peaks": {name.removeprefix("peak_"): value for name, value in read.items()},
            "started_at": datetime.fromisoformat(read["started_at"]),
        }
        run: Run = named_from(Run, told)
        return run
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"it is no document of cmemrun's ({type(error).__name__}: {error})",
            hint="give a file that cmemrun --json has written",
        ) from error


def sample_from(read: Any) -> Sample:
    """A Sample from its part of the document; ``TypeError`` where it is none."""
    sample: Sample = named_from(Sample, read)
    return sample


def named_from(kind: Any, read: Any) -> Any:
    """A named tuple of those names that it has; the others are of a later version.

    ``TypeError`` or ``ValueError`` where a value is not what the field holds.
    """
    if not isinstance(read, Mapping):
        raise TypeError(f"{read!r:.80} is no {kind.__name__}")
    if kind is Runtime and isinstance(read.get("environment"), dict):
        read = {**read, "environment": [list(pair) for pair in read["environment"].items()]}
    if kind is Sample:
        read = {"events": {"oom_kill": read.get("oom_kill")}, **read}
    hints = _hints(kind)
    return kind(
        **{name: _value(hints[name], value) for name, value in read.items() if name in hints}
    )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, localns={"datetime": datetime})


def _value(hint: Any, value: Any) -> Any:
    """A value read from JSON as a field of the model holds it; ``TypeError`` if it does not."""
    if isinstance(hint, UnionType):
        absent = value is None and NoneType in get_args(hint)
        return None if absent else _first(get_args(hint), value)
    if get_origin(hint) is tuple and isinstance(value, list):
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        # A pair is of two, and nothing else.
        return tuple(_value(kind, one) for kind, one in zip(kinds, value, strict=True))
    if hasattr(hint, "_fields"):
        return named_from(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if not _fits(hint, value):
        raise TypeError(f"{value!r:.80} is no {getattr(hint, '__name__', hint)}")
    return float(value) if hint is float else value


def _fits(hint: Any, value: Any) -> bool:
    # Not isinstance: True is an int to Python, and no size.
    if type(value) is int and abs(value) >= _LARGEST:
        return False
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint is int:
        return type(value) is int
    return hint in (str, bool, datetime) and type(value) is hint


def _first(hints: tuple[Any, ...], value: Any) -> Any:
    """As the first of several kinds that it fits."""
    for hint in hints:
        try:
            return _value(hint, value)
        except (TypeError, ValueError):
            if hint is hints[-1]:
                raise
    raise TypeError("no kind is wanted")

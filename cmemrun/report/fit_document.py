"""What ``cmemrun fit`` found as a versioned document, to be written as JSON, and back.

History of the format: names are added, none is renamed or given another meaning.

1   the first
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmemrun.analysis.search import Fit, Trial
from cmemrun.errors import BadInput
from cmemrun.report.document import named_from
from cmemrun.report.text import unicode_text

__all__ = ["SCHEMA", "SavedFit", "fit_from", "is_fit", "render"]

SCHEMA = 1

# What nobody has waited for, thirty years, and no option takes, 10,000 %.
_MOST_SECONDS = 1e9
_MOST_SLOWDOWN = 100.0


class SavedFit(NamedTuple):
    """A search, and of which program."""

    command: tuple[str, ...]
    fit: Fit
    slowdown: float | None = None
    """What counted as slow, as ``Criteria`` has it; ``None`` where that was not saved."""
    warnings: tuple[str, ...] = ()


def render(saved: SavedFit) -> str:
    """The document as JSON text, in ASCII."""
    found = saved.fit
    told = {
        "schema": SCHEMA,
        "command": [unicode_text(word) for word in saved.command],
        "slowdown": saved.slowdown,
        "cliff_bytes": found.cliff_bytes,
        "knee_bytes": found.knee_bytes,
        "low_bytes": found.low_bytes,
        "is_complete": found.is_complete,
        "unlimited": _of(found.unlimited),
        "runs": [_of(trial) for trial in found.trials],
        "warnings": list(saved.warnings),
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _of(trial: Trial) -> dict[str, Any]:
    return trial._asdict() | {"outcome": trial.outcome.value}


def is_fit(read: Any) -> bool:
    """Whether JSON that was read is such a document, be it a damaged one."""
    return isinstance(read, Mapping) and "runs" in read and "statistics" not in read


def fit_from(read: Any) -> SavedFit:
    """A search from JSON that was read; what a later cmemrun has added to it is passed over.

    Raises ``BadInput`` for anything that is no such document.
    """
    try:
        if read["schema"] != SCHEMA:
            raise BadInput(
                f"it has schema {read['schema']!r}, and this cmemrun knows {SCHEMA}",
                hint="read it with the cmemrun that wrote it, or a newer one",
            )
        saved: SavedFit = named_from(SavedFit, {**read, "fit": {**read, "trials": read["runs"]}})
        _check(saved)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"it is no result of cmemrun fit ({type(error).__name__}: {error})",
            hint="give a file that cmemrun fit --json has written",
        ) from error
    return saved


def _check(saved: SavedFit) -> None:
    """``ValueError`` for what no search has found."""
    found = saved.fit
    sizes = [found.cliff_bytes, found.knee_bytes, found.low_bytes]
    times: list[float | None] = []
    for trial in (found.unlimited, *found.trials):
        sizes += [trial.limit_bytes, trial.peak_bytes]
        times += [trial.wall_seconds, trial.stall_seconds]
    if min(size for size in sizes if size is not None) < 0:
        raise ValueError("a size is below 0")
    if not all(0 <= seconds <= _MOST_SECONDS for seconds in times if seconds is not None):
        raise ValueError("a time is none that a run takes")
    if saved.slowdown is not None and not 0 <= saved.slowdown <= _MOST_SLOWDOWN:
        raise ValueError("no run may be slowed like that")

"""What a container manager's settings are to a group of ours."""

from collections.abc import Iterable

from cmemrun.model import UNLIMITED, Limit, Limits, Setting

__all__ = ["limits_of"]

_NAMES = {
    "memory.max": "max_bytes",
    "memory.high": "high_bytes",
    "memory.low": "low_bytes",
    "memory.min": "min_bytes",
    "memory.swap.max": "swap_max_bytes",
    "pids.max": "pids_max",
}


def limits_of(settings: Iterable[Setting]) -> Limits:
    """The limits that these files of a v2 group stand for."""
    found: dict[str, Limit | bool] = {}
    for setting in settings:
        if setting.file == "memory.oom.group":
            found["oom_group"] = setting.value == "1"
        elif setting.file == "oom_score_adj":
            found["oom_score_adj"] = int(setting.value)
        elif setting.value != UNLIMITED.value:
            found[_NAMES[setting.file]] = int(setting.value)
        elif setting.file != "memory.max":  # without one there is nothing to set
            found[_NAMES[setting.file]] = UNLIMITED
    return Limits(**found)  # type: ignore[arg-type]

"""What callers give, as a number or as a text of the command line's, in one unit each."""

import math

from cmemrun import units
from cmemrun.errors import BadInput

__all__ = ["seconds", "within"]


def seconds(name: str, value: float | str, *, least: float = 0.0) -> float:
    """Seconds from a number of them or from ``100ms``; ``BadInput`` below ``least``."""
    found = units.parse_duration(value) if isinstance(value, str) else float(value)
    if not (math.isfinite(found) and found >= least):
        raise BadInput(
            f"{name}: {value!r} is no time of at least {units.format_duration(least)}",
            hint=f"give seconds, or {units.DURATION_EXAMPLES}",
        )
    return found


def within(name: str, value: int, least: int, most: int) -> int:
    """A whole number between two others; ``BadInput`` where it is not."""
    if not least <= value <= most:
        raise BadInput(f"{name}: {value} is not between {least} and {most}")
    return value

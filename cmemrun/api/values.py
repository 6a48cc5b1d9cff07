"""What callers give, as a number or as a text of the command line's, in one unit each."""

import math

from cmemrun import units
from cmemrun.errors import BadInput

__all__ = ["seconds", "within"]

# Thirty years: what is given to the kernel must fit into its clocks.
_MOST_SECONDS = 1e9


def seconds(name: str, value: float | str, *, least: float = 0.0) -> float:
    """Seconds from a number of them or from ``100ms``; ``BadInput`` below ``least`` or for ages."""
    found = units.parse_duration(value) if isinstance(value, str) else float(value)
    if not (math.isfinite(found) and least <= found <= _MOST_SECONDS):
        raise BadInput(
            f"{name}: {value!r} is no time of at least {units.format_duration(least)}"
            f" and at most {_MOST_SECONDS:.0f} s",
            hint=f"give seconds, or {units.DURATION_EXAMPLES}",
        )
    return found


def within(name: str, value: object, least: int, most: int) -> int:
    """A whole number between two others; ``BadInput`` where it is not."""
    # A float would come to the kernel as nobody meant it, and True is no number to anybody.
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(f"{name}: {value!r} is no whole number", hint="write 3 for example")
    if not least <= value <= most:
        raise BadInput(
            f"{name}: {value} is not between {least} and {most}", hint="give a number between these"
        )
    return value

"""Quantities and durations: text in, numbers out, and back for people to read.

Nobody else in the package formats bytes or seconds.
"""

import re

from cmemrun.errors import BadInput

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

SIZE_EXAMPLES = "512Mi, 1.5Gi, 512MB or plain bytes"
DURATION_EXAMPLES = "400ms, 1.5s or 1m30s"

_BINARY = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL = {prefix: 1000**power for power, prefix in enumerate("kMGTPE", start=1)}
_SIZE_UNITS = {
    "": 1,
    "B": 1,
    **_BINARY,
    **{f"{unit}B": factor for unit, factor in _BINARY.items()},
    **_DECIMAL,
    **{f"{unit}B": factor for unit, factor in _DECIMAL.items()},
}

# One letter, three meanings: a quantity that somebody else's tool would read
# differently is refused with its readings rather than guessed.
_AMBIGUOUS = {
    "m": "a thousandth to Kubernetes, a mebibyte to Docker",
    "K": "1024 to systemd and the kernel, no unit at all to Kubernetes",
    "g": "a gibibyte to Docker, no unit to Kubernetes",
}

# Bounded on purpose: nobody's limit has forty digits, and a huge exponent
# would take memory to work out.
_SIZE = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE](\+?[0-9]{1,2}))?([A-Za-z]*)"
)

# The kernel counts pages in a signed 64-bit number of bytes.
_MAX_BYTES = 2**63 - 1

# Thirty years; some of the kernel's and Python's clocks end at a few hundred.
_MAX_SECONDS = 1e9

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # U+00B5, the micro sign
    "μs": 1e-6,  # U+03BC, the Greek letter: Go takes both
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION_PART = re.compile(r"([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(ns|us|µs|μs|ms|s|m|h)")


def parse_size(text: str) -> int:
    """Bytes from ``512Mi``, ``512MiB``, ``512MB``, ``512M``, ``1.5Gi``, ``512e6`` or ``4096``.

    ``Ki Mi Gi Ti Pi Ei`` are powers of 1024, ``k M G T P E`` of 1000, each with
    or without ``B``. A fraction of a byte is dropped.

    Raises ``BadInput`` for anything else, and for ``m``, ``K`` and ``g``, which
    mean different things to Kubernetes, Docker and systemd.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise BadInput(f"{text!r} is not a size", hint=f"write {SIZE_EXAMPLES}")
    number, exponent, unit = match.groups()
    if unit in _AMBIGUOUS:
        raise BadInput(
            f"{text!r} is ambiguous: {unit} is {_AMBIGUOUS[unit]}", hint=f"write {SIZE_EXAMPLES}"
        )
    if unit not in _SIZE_UNITS:
        raise BadInput(f"{text!r} has no unit we know", hint=f"write {SIZE_EXAMPLES}")
    whole, _, part = number.partition(".")
    # In integers: a float would be off by some bytes from 8 PiB on.
    size: int = int(whole + part) * 10 ** int(exponent or 0) * _SIZE_UNITS[unit] // 10 ** len(part)
    if size > _MAX_BYTES:
        raise BadInput(f"{text!r} is more than any kernel counts", hint=f"write {SIZE_EXAMPLES}")
    return size


def parse_duration(text: str) -> float:
    """Seconds from a Go duration: ``400ms``, ``1.5s``, ``1m30s``, ``1h``, ``0``.

    Raises ``BadInput`` for anything else; a bare number has no unit and is refused.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    end, seconds = 0, 0.0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        end = part.end()
        seconds += float(part[1]) * _SECONDS[part[2]]
    if not text or end != len(text):
        raise BadInput(f"{text!r} is not a duration", hint=f"write {DURATION_EXAMPLES}")
    if seconds > _MAX_SECONDS:
        raise BadInput(f"{text!r} is longer than anybody waits", hint=f"write {DURATION_EXAMPLES}")
    return seconds


def format_size(size_bytes: int) -> str:
    """``109051904`` as ``104.0 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    import humanize

    return humanize.naturalsize(size_bytes, binary=True, format="%.1f")


def format_duration(seconds: float) -> str:
    """``0.0234`` as ``23 ms``, ``2.5`` as ``2.50 s``, ``4000`` as ``1:06:40 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h"

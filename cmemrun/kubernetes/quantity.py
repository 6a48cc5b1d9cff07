"""Kubernetes' own grammar of quantities (apimachinery ``pkg/api/resource/quantity.go``)."""

import math
import re
from decimal import Decimal
from fractions import Fraction

from cmemrun.errors import BadInput

__all__ = ["format_bytes", "parse_bytes", "parse_quantity"]

_BINARY = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL = {prefix: 10 ** (3 * power) for power, prefix in enumerate("kMGTPE", start=1)}
_SMALL = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
_SUFFIXES: dict[str, Fraction | int] = {"": 1, **_BINARY, **_DECIMAL, **_SMALL}

# Bounded: nobody's quantity has forty digits, and an exponent takes time to work out.
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))"
    r"(?:([KMGTPE]i|[numkMGTPE]|)|[eE]([+-]?[0-9]{1,3}))"
)
_LARGEST = 2**63 - 1


def parse_quantity(text: str) -> Fraction:
    """The exact value of ``1536Mi``, ``1.5``, ``500m``, ``1e3``.

    Raises ``BadInput`` for anything else; case matters, as it does to Kubernetes:
    ``K``, ``mi`` and ``MB`` are mistakes.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise BadInput(
            f"{text!r} is no quantity to Kubernetes", hint="write 512Mi, 0.5Gi, 512M or plain bytes"
        )
    number, suffix, exponent = match.groups()
    factor = _SUFFIXES[suffix] if exponent is None else Fraction(10) ** int(exponent)
    return Fraction(Decimal(number)) * factor


def parse_bytes(text: str) -> int:
    """A quantity of memory in whole bytes, rounded up as ``Quantity.Value()`` does.

    Raises ``BadInput``, also for what is below nothing.
    """
    value = parse_quantity(text)
    if value < 0:
        raise BadInput(f"{text!r} is less than nothing", hint="write 512Mi for example")
    return min(math.ceil(value), _LARGEST)


def format_bytes(size_bytes: int) -> str:
    """The shortest quantity that is exactly so many bytes: ``1536Mi``, ``1000k``."""
    for suffix, factor in (*reversed(_BINARY.items()), *reversed(_DECIMAL.items())):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{suffix}"
    return str(size_bytes)

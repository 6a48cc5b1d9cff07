"""What is written on the command line, as values: each refuses what it cannot read."""

import re

from cmemrun import units
from cmemrun.errors import BadInput
from cmemrun.model import UNLIMITED, Assertion, Limit
from cmemrun.sampler import AUTO_PROBE, Probe

__all__ = [
    "assertion",
    "assignment",
    "count",
    "cpu",
    "export",
    "factor",
    "growth",
    "interval",
    "limit",
    "percent",
    "pid",
    "positive_size",
    "probe",
    "release",
    "score",
    "times",
    "words",
]


def _at_least(seconds: float, text: str, least: float) -> float:
    if seconds < least:
        raise BadInput(
            f"{text!r} is less than {units.format_duration(least)}",
            hint=f"write {units.DURATION_EXAMPLES}",
        )
    return seconds


def interval(text: str) -> float:
    """Seconds between two looks, a millisecond at least."""
    return _at_least(units.parse_duration(text), text, 0.001)


def probe(text: str) -> Probe:
    """Seconds between two looks at usage alone, chosen by cost, or none."""
    if text == "auto":
        return AUTO_PROBE
    return None if text == "off" else interval(text)


def positive_size(text: str) -> int:
    """Bytes, at least one."""
    size = units.parse_size(text)
    if size < 1:
        raise BadInput(f"{text!r} leaves nothing", hint=f"write {units.SIZE_EXAMPLES}")
    return size


def limit(text: str) -> Limit:
    """Bytes, or no limit."""
    return UNLIMITED if text == UNLIMITED.value else units.parse_size(text)


def _number(text: str, least: int, most: int, wrong: str, hint: str) -> int:
    """A whole number between two others; ``wrong`` is what to say of anything else."""
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise BadInput(f"{text!r} {wrong}", hint=hint)
    return int(text)


def count(text: str) -> Limit:
    """A number of processes, or no limit."""
    if text == UNLIMITED.value:
        return UNLIMITED
    return _number(text, 1, 2**22 - 1, "is no number of processes", "write 100, or max")


def score(text: str) -> int:
    """For oom_score_adj."""
    return _number(text, -1000, 1000, "is not between -1000 and 1000", "write 500 for example")


def assignment(text: str) -> tuple[str, str]:
    """A file of a group and what to write to it."""
    file, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise BadInput(f"{text!r} sets nothing", hint="write memory.swap.high=1G for example")
    return file, value


def assertion(text: str) -> Assertion:
    """So much of a metric, and no more."""
    from cmemrun.analysis.budget import parse_assertion

    return parse_assertion(text)


def cpu(text: str) -> int:
    """Thousandths of a CPU, as the kubelet counts them."""
    from cmemrun.kubernetes.quantity import parse_quantity

    return -int(-parse_quantity(text) * 1000 // 1)


def release(text: str) -> tuple[int, int]:
    """Of Kubernetes: major and minor."""
    parts = text.removeprefix("v").split(".")
    if not 2 <= len(parts) <= 3 or not all(part.isdecimal() and len(part) < 4 for part in parts):
        raise BadInput(f"{text!r} is no release of Kubernetes", hint="write 1.34")
    return int(parts[0]), int(parts[1])


def factor(text: str) -> float:
    """Above 0 and at most 1."""
    if not re.fullmatch(r"[01](\.[0-9]{1,9})?", text) or not 0 < float(text) <= 1:
        raise BadInput(f"{text!r} is no factor between 0 and 1", hint="write 0.9")
    return float(text)


def percent(text: str) -> float:
    """A share."""
    number = text.removesuffix("%")
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", number) or not text.endswith("%"):
        raise BadInput(f"{text!r} is no percentage", hint="write 10%")
    return float(number) / 100


def growth(text: str) -> tuple[str, float]:
    """A metric and the share by which it may grow; the peak where none is named."""
    from cmemrun.analysis.metrics import find_metric

    name, equals, share = text.rpartition("=")
    return find_metric(name.strip() if equals else "peak").name, percent(share.strip())


def export(text: str) -> tuple[str, str]:
    """A format and a path."""
    from cmemrun.report import FORMATS

    name, equals, path = text.partition("=")
    if name not in FORMATS or not equals or not path:
        raise BadInput(
            f"{text!r} names no format and file", hint=f"FORMAT is {', '.join(sorted(FORMATS))}"
        )
    return name, path


def times(text: str) -> int:
    """How often."""
    return _number(text, 1, 9999, "is no number of times", "write 3 for example")


def words(text: str) -> tuple[str, ...]:
    """A command, split as a shell would, for no shell."""
    import shlex

    try:
        split = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}", hint="close the quotes") from error
    if not split:
        raise BadInput("there is no command", hint="write 'test -s out.csv' for example")
    return split


def pid(text: str) -> int:
    """A process."""
    return _number(text, 1, 2**31 - 1, "is no process", "give its number, as ps has it")

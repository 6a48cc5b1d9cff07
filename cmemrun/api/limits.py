"""The limits of a group as a caller writes them."""

from dataclasses import dataclass

from cmemrun import model, units
from cmemrun.api.values import within
from cmemrun.errors import BadInput

__all__ = ["Limits", "Size"]

Size = int | str
"""Bytes, or a text like ``"512Mi"``; ``"max"`` is no limit."""

# The kernel counts pages in a signed 64-bit number of bytes.
_MOST_BYTES = 2**63 - 1
_MOST_PIDS = 2**22 - 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the kernel shall enforce on a group; ``None`` leaves it as it is.

    Sizes are bytes or texts like ``"512Mi"``, and ``"max"`` is no limit. What the
    kernel made of it is in ``Run.limits``, in bytes.
    """

    max: Size | None = None
    """``memory.max``: above it the OOM killer comes."""
    high: Size | None = None
    """``memory.high``: above it processes are slowed down and reclaimed from."""
    low: Size | None = None
    """``memory.low``: below it memory is reclaimed only where nobody else has any."""
    min: Size | None = None
    """``memory.min``: below it memory is never reclaimed."""
    swap: Size | None = None
    """``memory.swap.max``."""
    zswap: Size | None = None
    """``memory.zswap.max``."""
    pids: int | str | None = None
    """``pids.max``: processes and threads."""
    oom_group: bool = False
    """``memory.oom.group``: where one process is killed, all are."""
    oom_score_adj: int | None = None
    """-1000 to 1000: whom the OOM killer takes first; only root may lower it."""

    def in_bytes(self) -> model.Limits:
        """The same in bytes; ``BadInput`` for what is no size."""
        adj = self.oom_score_adj
        return model.Limits(
            max_bytes=_size("max", self.max, least=1),
            high_bytes=_size("high", self.high),
            low_bytes=_size("low", self.low),
            min_bytes=_size("min", self.min),
            swap_max_bytes=_size("swap", self.swap),
            zswap_max_bytes=_size("zswap", self.zswap),
            pids_max=_count("pids", self.pids),
            oom_group=self.oom_group,
            oom_score_adj=None if adj is None else within("oom_score_adj", adj, -1000, 1000),
        )


def _size(name: str, value: Size | None, *, least: int = 0) -> model.Limit:
    if value is None or value == model.UNLIMITED.value:
        return None if value is None else model.UNLIMITED
    size = units.parse_size(value) if isinstance(value, str) else value
    return within(name, size, least, _MOST_BYTES)


def _count(name: str, value: int | str | None) -> model.Limit:
    if value is None or value == model.UNLIMITED.value:
        return None if value is None else model.UNLIMITED
    try:
        count = int(value) if isinstance(value, str) else value
    except ValueError as error:
        raise BadInput(
            f"{name}: {value!r} is no number of processes", hint="write 100, or None for no limit"
        ) from error
    return within(name, count, 1, _MOST_PIDS)

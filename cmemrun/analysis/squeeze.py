"""How far a running program can be squeezed: what to reclaim next, and what that has shown.

After senpai (facebookincubator/senpai, and the plugin of that name in oomd): take a
little as long as nobody waits for memory, and leave it alone where somebody does.
In larger steps, as theirs of 1 % in 6 s take minutes where a benchmark has one.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from cmemrun.model import Sample

__all__ = ["QUIET_SECONDS", "Squeeze", "Steering", "Step", "conclude"]

# Of the time, that somebody may wait for memory: oomd's mem_pressure_pct, 0.1 %.
_QUIET_SHARE = 0.001

# Of what can be reclaimed, in one step: the largest, and the smallest after pressure.
_MOST_SHARE, _LEAST_SHARE = 0.1, 0.01

# Of what was taken, that may be read again before it is held to be missed.
_REFAULT_SHARE = 0.5
_REFAULT_BYTES = 2**18

# Between two steps; looks at a new high come more often.
_STEP_SECONDS = 0.4


QUIET_SECONDS = 3.0
"""So long nobody may have waited before a usage is held to be enough."""


class Step(NamedTuple):
    """One look while squeezing, and what was asked of the kernel then."""

    elapsed_seconds: float
    usage_bytes: int
    kept_bytes: int
    """Of it, what cannot be reclaimed without swap: anon, shared memory, kernel."""
    stall_seconds: float
    """That somebody waited for memory, until then."""
    refault_bytes: int = 0
    """Of files, that had been reclaimed and were needed again, until then."""
    asked_bytes: int = 0


class Squeeze(NamedTuple):
    """What was found; ``None`` where it did not run on for long enough.

    ``held_bytes``: the lowest usage, after the highest, at which nobody waited
    for memory for ``QUIET_SECONDS``.
    """

    held_bytes: int | None
    highest_bytes: int
    kept_bytes: int
    """The most of it that could not have been reclaimed."""
    was_pressed: bool
    """It was squeezed until it missed something; if never, it may need less than was held."""
    steps: tuple[Step, ...]


class Steering:
    """Says what to reclaim, look by look."""

    def __init__(self, page_bytes: int) -> None:
        self.steps: list[Step] = []
        self._page_bytes = page_bytes
        self._share = _MOST_SHARE
        self._rest_until = 0.0

    def look(self, sample: Sample) -> int:
        """How much to reclaim now; what cannot be told from the sample is left alone."""
        if sample.pressure is None or sample.anon_bytes is None:
            return 0
        kept = sample.anon_bytes + (sample.shmem_bytes or 0) + (sample.kernel_bytes or 0)
        step = Step(
            elapsed_seconds=sample.elapsed_seconds,
            usage_bytes=sample.usage_bytes,
            kept_bytes=kept,
            stall_seconds=sample.pressure.some_seconds,
            refault_bytes=(sample.paging.workingset_refault_file or 0) * self._page_bytes,
        )
        asked = self._asked(step)
        self.steps.append(step._replace(asked_bytes=asked))
        return asked

    def _asked(self, step: Step) -> int:
        if not self.steps:
            return 0
        if _is_pressed(self.steps[-1], step):
            self._share = max(_LEAST_SHARE, self._share / 2)
            # What it has taken back may be enough: that is to be seen.
            self._rest_until = step.elapsed_seconds + QUIET_SECONDS
        if step.elapsed_seconds < self._rest_until:
            return 0
        self._rest_until = step.elapsed_seconds + _STEP_SECONDS
        can_be_had = max(0, step.usage_bytes - step.kept_bytes)
        return int(can_be_had * self._share) // self._page_bytes * self._page_bytes


def conclude(steps: Sequence[Step]) -> Squeeze:
    """What the looks of a whole run have shown; there is at least one."""
    highest = max(steps, key=lambda step: step.usage_bytes)
    # Before it the program was still growing: what it had then was never enough.
    after = steps[steps.index(highest) :]
    return Squeeze(
        held_bytes=min(_quiet(after), default=None),
        highest_bytes=highest.usage_bytes,
        kept_bytes=max(step.kept_bytes for step in steps),
        was_pressed=any(_is_pressed(*pair) for pair in itertools.pairwise(after)),
        steps=tuple(steps),
    )


def _quiet(steps: Sequence[Step]) -> list[int]:
    """The highest usage of every quiet span."""
    found, first = [], 0
    for last, step in enumerate(steps):
        if last and _is_pressed(steps[last - 1], step):
            first = last
        while first < last and step.elapsed_seconds - steps[first + 1].elapsed_seconds >= (
            QUIET_SECONDS
        ):
            first += 1
        if step.elapsed_seconds - steps[first].elapsed_seconds >= QUIET_SECONDS:
            found.append(max(one.usage_bytes for one in steps[first : last + 1]))
    return found


def _is_pressed(before: Step, after: Step) -> bool:
    """Whether somebody waited in between, or most of what was taken came back.

    The kernel counts only those refaults as stalls that were of active pages.
    """
    waited = after.stall_seconds - before.stall_seconds
    refaulted = after.refault_bytes - before.refault_bytes
    return waited > _QUIET_SHARE * (after.elapsed_seconds - before.elapsed_seconds) or (
        refaulted > max(_REFAULT_BYTES, _REFAULT_SHARE * before.asked_bytes)
    )

"""The smallest limits a program lives with: searched by running it, whoever runs it."""

import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

__all__ = ["Criteria", "Fit", "Outcome", "Trial", "search"]

_MIB = 2**20

# How near the answer must be to the true one: this share of the peak, and no
# nearer than what the kernel's own counters are off by on a few CPUs.
_NEAR_SHARE = 0.02
_NEAR_BYTES = 2 * _MIB


class Outcome(Enum):
    """How a run under a limit ended."""

    OK = "ok"
    KILLED = "killed"
    """Somebody in it was killed by the OOM killer."""
    FAILED = "failed"
    TIMED_OUT = "timed-out"


class Trial(NamedTuple):
    """One run; ``limit_bytes`` is ``None`` without a limit."""

    limit_bytes: int | None
    outcome: Outcome
    wall_seconds: float
    stall_seconds: float | None
    """That somebody waited for memory; ``None`` where that is not counted."""
    peak_bytes: int
    kept_bytes: int | None = None
    """What could not have been reclaimed at the peak: anon, shared memory, kernel."""
    refault_bytes: int | None = None
    """What had been reclaimed and was needed again; ``None`` where that is not counted."""
    limit_hits: int | None = None
    """How often usage was about to go over the limit; ``None`` where that is not counted."""


class Criteria(NamedTuple):
    """When the search is over, and what counts as slow.

    ``slowdown`` is how much longer than without a limit a run may take, 0.1 for
    10 %; ``confirm`` how often an answer must hold in all.
    """

    slowdown: float = 0.1
    confirm: int = 2
    most_runs: int = 30


class Fit(NamedTuple):
    """What was found; ``None`` where the search ended before.

    ``cliff_bytes``: the smallest limit with which the program succeeds.
    ``knee_bytes``: the smallest with which it is not slowed, either.
    ``low_bytes`` is the largest limit that failed, 0 where none did.
    """

    unlimited: Trial
    trials: tuple[Trial, ...]
    cliff_bytes: int | None
    knee_bytes: int | None
    low_bytes: int
    is_complete: bool


class _Spent(Exception):
    """As many runs as there may be have been made."""


class _Search:
    def __init__(
        self,
        probe: Callable[[int | None], Trial],
        criteria: Criteria,
        on_progress: Callable[[Fit], None],
    ) -> None:
        self._probe = probe
        self._criteria = criteria
        self._on_progress = on_progress
        self.trials: list[Trial] = []
        self.low_bytes = 0
        self.cliff_bytes: int | None = None
        self.knee_bytes: int | None = None

    def run(self, limit_bytes: int | None) -> Trial:
        if len(self.trials) >= self._criteria.most_runs:
            raise _Spent
        trial = self._probe(limit_bytes)
        self.trials.append(trial)
        self._on_progress(self.known())
        return trial

    def known(self, *, is_complete: bool = False) -> Fit:
        return Fit(
            unlimited=self.trials[0],
            trials=tuple(self.trials),
            cliff_bytes=self.cliff_bytes,
            knee_bytes=self.knee_bytes,
            low_bytes=self.low_bytes,
            is_complete=is_complete,
        )

    def find_cliff(self, unlimited: Trial) -> None:
        near = max(_NEAR_BYTES, int(unlimited.peak_bytes * _NEAR_SHARE))
        # What cannot be reclaimed has to fit; so the cliff is likely to be there.
        guess = unlimited.kept_bytes or unlimited.peak_bytes // 2
        step, at = near, _whole(min(guess + near // 2, unlimited.peak_bytes + near))
        while self.cliff_bytes is None or self.cliff_bytes - self.low_bytes > near:
            if self._holds(at):
                self.cliff_bytes = at
            else:
                self.low_bytes = at
            if self.cliff_bytes is None:
                at, step = _whole(at + step), step * 2
            elif self.low_bytes:
                at = _whole((self.cliff_bytes + self.low_bytes) // 2)
            else:
                # Always lower: near itself may round up to what has held already.
                at, step = min(_whole(max(near, at - step)), self.cliff_bytes - _MIB), step * 2
        self._confirm(near)

    def _confirm(self, near: int) -> None:
        """Run the answer again, and go up from there where it does not hold."""
        while self.cliff_bytes is not None:
            held = sum(
                trial.outcome is Outcome.OK
                for trial in self.trials
                if trial.limit_bytes == self.cliff_bytes
            )
            if held >= self._criteria.confirm:
                return
            if not self._holds(self.cliff_bytes):
                self.low_bytes, self.cliff_bytes = self.cliff_bytes, self.cliff_bytes + near

    def find_knee(self, unlimited: Trial) -> None:
        if self.cliff_bytes is None:
            return
        near = max(_NEAR_BYTES, int(unlimited.peak_bytes * _NEAR_SHARE * 2))
        slow, fast = self.cliff_bytes, _whole(unlimited.peak_bytes + near)
        at_cliff = [one for one in self.trials if one.limit_bytes == slow]
        if not all(self._is_slow(one, unlimited) for one in at_cliff):
            self.knee_bytes = slow
            return
        while fast - slow > near:
            at = _whole((fast + slow) // 2)
            trial = self.run(at)
            if trial.outcome is Outcome.OK and not self._is_slow(trial, unlimited):
                fast, self.knee_bytes = at, at
            else:
                slow = at
        self.knee_bytes = fast

    def _holds(self, limit_bytes: int) -> bool:
        return self.run(limit_bytes).outcome is Outcome.OK

    def _is_slow(self, trial: Trial, unlimited: Trial) -> bool:
        """Longer than it may be, and for want of memory where that can be told."""
        if trial.limit_hits == 0:
            return False
        more = trial.wall_seconds - unlimited.wall_seconds
        allowed = unlimited.wall_seconds * self._criteria.slowdown
        if trial.stall_seconds is None and trial.refault_bytes is None:
            return more > allowed
        # A busy machine makes it longer without either. The kernel counts what is read
        # again as a stall only where it had been used twice (PSI: active pages).
        lost = (trial.stall_seconds or 0.0) - (unlimited.stall_seconds or 0.0)
        again = (trial.refault_bytes or 0) - (unlimited.refault_bytes or 0)
        is_short = lost > allowed / 2 or again > unlimited.peak_bytes * self._criteria.slowdown
        return more > allowed and is_short


def search(
    probe: Callable[[int | None], Trial],
    criteria: Criteria | None = None,
    *,
    on_progress: Callable[[Fit], None] = lambda _: None,
) -> Fit:
    """Find both limits by trials; ``probe`` makes one, with the limit it is given.

    ``on_progress`` is told what is known after each. ``KeyboardInterrupt`` out of
    ``probe``, once there was a first one, ends the search with that.
    """
    found = _Search(probe, criteria or Criteria(), on_progress)
    first = found.run(None)
    if first.outcome is not Outcome.OK:
        return found.known()
    try:
        found.find_cliff(first)
        found.find_knee(first)
    except (_Spent, KeyboardInterrupt):
        return found.known()
    return found.known(is_complete=True)


def _whole(size_bytes: int) -> int:
    return math.ceil(size_bytes / _MIB) * _MIB

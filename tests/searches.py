"""Programs to search on and searches that are over, all made up."""

import random
from typing import Any

from cmemrun.analysis.search import Fit, Outcome, Trial
from cmemrun.report.fit_document import SavedFit
from tests.made_up import MIB

__all__ = ["USUAL", "MadeUp", "found", "trial"]

OK, KILLED, FAILED, TIMED_OUT = Outcome


class MadeUp:
    """A program that needs so much, and is slow below another."""

    def __init__(
        self,
        need: float,
        *,
        peak: float | None = None,
        kept: float | None = None,
        fast_from: float = 0,
        noise: float = 0,
        stalls: bool = True,
    ) -> None:
        self.need, self.peak, self.kept = need, need if peak is None else peak, kept
        self.fast_from, self.noise, self.stalls = fast_from, noise, stalls
        self.random = random.Random(1)
        self.limits: list[int | None] = []

    def __call__(self, limit_bytes: int | None) -> Trial:
        self.limits.append(limit_bytes)
        limit = float("inf") if limit_bytes is None else limit_bytes / MIB
        lost = 1.0 if limit < self.fast_from else 0.0
        need = self.need + self.random.uniform(-self.noise, self.noise)
        return Trial(
            limit_bytes=limit_bytes,
            outcome=Outcome.OK if limit >= need else Outcome.KILLED,
            wall_seconds=1.0 + lost + self.random.uniform(0, 0.05),
            stall_seconds=lost if self.stalls else None,
            peak_bytes=int(min(self.peak, limit) * MIB),
            kept_bytes=None if self.kept is None else int(self.kept * MIB),
        )


def trial(
    limit: float | None, seconds: float, outcome: Outcome = OK, stall: float | None = 0.0
) -> Trial:
    """Of sizes in MiB; without a limit it takes 90."""
    size = None if limit is None else int(limit * MIB)
    return Trial(size, outcome, seconds, stall, 90 * MIB if size is None else size)


def found(*trials: Trial, slowdown: float | None = 0.1, **more: Any) -> SavedFit:
    sizes = {name: None if size is None else int(size * MIB) for name, size in more.items()}
    answers: dict[str, Any] = {"cliff_bytes": None, "knee_bytes": None, "low_bytes": 0}
    fit = Fit(trials[0], trials, **answers | sizes, is_complete=bool(more))
    return SavedFit(("./myapp", "--flag"), fit, slowdown)


USUAL = found(
    trial(None, 1.0),
    trial(60, 3.0, stall=1.5),
    trial(60, 4.0, stall=2.5),
    trial(50, 0.2, KILLED),
    trial(56, 0.5, FAILED, 0.25),
    trial(58, 11.0, TIMED_OUT, 8.0),
    trial(75, 1.05, stall=0.5),
    cliff_bytes=60,
    knee_bytes=75,
    low_bytes=58,
)

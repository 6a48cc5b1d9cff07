"""What somebody allows a program, against what it used."""

from cmemrun.model import Budget, Run

__all__ = ["judge_peak"]


def judge_peak(run: Run, allowed_bytes: int) -> Budget:
    """The peak against an allowed one, and how sure the answer is.

    ``exact``: the kernel's own high-water mark. ``sampled``: the highest usage
    we saw, so a short higher one may have been missed.
    """
    return Budget(
        metric="peak",
        allowed=allowed_bytes,
        measured=run.peak_bytes,
        certainty="exact" if run.method.peak_source == "kernel" else "sampled",
    )

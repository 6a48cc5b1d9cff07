"""Tools that measure, side by side: for ``scripts/accuracy`` and ``scripts/bench``."""

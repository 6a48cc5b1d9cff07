"""Conclusions from Runs: pure functions, the same on any machine."""

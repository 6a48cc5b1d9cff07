"""Runs as text: pure functions, one file a format."""

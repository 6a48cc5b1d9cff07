"""Run a program in a memory cgroup of its own and report what it really used."""

__version__ = "0.1.0"

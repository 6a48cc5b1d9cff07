"""Run the command line in one call, where neither signals nor a terminal are what is tested."""

import subprocess
from typing import Any, Literal, overload

from tests import warm
from tests.conftest import CMEMRUN
from tests.waiting import PATIENCE_SECONDS

__all__ = ["call_cmemrun"]


@overload
def call_cmemrun(
    *arguments: str | bytes, text: Literal[True] = True, check: bool = False, **more: Any
) -> "subprocess.CompletedProcess[str]": ...
@overload
def call_cmemrun(
    *arguments: str | bytes, text: Literal[False], check: bool = False, **more: Any
) -> "subprocess.CompletedProcess[bytes]": ...
def call_cmemrun(
    *arguments: str | bytes, text: bool = True, check: bool = False, **more: Any
) -> "subprocess.CompletedProcess[Any]":
    """Return what it printed, and its status; ``more`` is as for ``subprocess.run``."""
    if "input" not in more:
        more.setdefault("stdin", subprocess.DEVNULL)
    return warm.run(
        [CMEMRUN, *arguments],
        capture_output=True,
        text=text,
        check=check,
        timeout=PATIENCE_SECONDS,
        **more,
    )

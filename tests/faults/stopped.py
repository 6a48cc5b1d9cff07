"""A server of runs of cmemrun of which one part stops where it begins, to be traced from there on.

A request is a line of JSON on standard input: ``[part, directory, arguments]``. The
answers are ``thread ID PID`` of what has stopped and of the run's launcher, and ``ended
STATUS PID``. Each run is a fork of this process, which has all modules, so that it does what
it is about and no loading.
"""

import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
from typing import Any, NoReturn

import psutil  # noqa: F401

import cmemrun.commands
import cmemrun.commands.output
import cmemrun.commands.runtime
import cmemrun.keeper
import cmemrun.launcher
from cmemrun.__main__ import main
from cmemrun.commands.recorder import Recorder
from cmemrun.sampler import Sampler

for package in ("analysis", "backends", "kernel", "report", "runtimes"):
    path = importlib.import_module(f"cmemrun.{package}").__path__
    for module in pkgutil.iter_modules(path, f"cmemrun.{package}."):
        importlib.import_module(module.name)

PARTS: dict[str, tuple[Any, str]] = {
    "launcher": (cmemrun.commands, "run"),
    "keeper": (cmemrun.keeper, "_keep"),
    "program": (cmemrun.launcher, "_wait_and_execute"),
    "sampler": (Sampler, "_run"),
    "recorder": (Recorder, "_write"),
}


def _run(part: str, directory: str, arguments: list[str]) -> NoReturn:
    answers, launcher = os.dup(1), os.getpid()
    where, name = PARTS[part]
    whole = getattr(where, name)

    def stopping(*given: Any, **more: Any) -> Any:
        setattr(where, name, whole)
        os.write(answers, f"thread {threading.get_native_id()} {launcher}\n".encode())
        os.close(answers)
        os.kill(os.getpid(), signal.SIGSTOP)
        return whole(*given, **more)

    setattr(where, name, stopping)
    os.chdir(directory)
    for fd, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, "stdout", os.O_WRONLY | os.O_CREAT),
        (2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, fd)
        os.close(opened)
    sys.argv[1:] = arguments
    main()
    os._exit(1)


if __name__ == "__main__":
    while request := os.read(0, 65536):
        child = os.fork()
        if child == 0:
            _run(*json.loads(request))
        _, status = os.waitpid(child, 0)
        os.write(1, f"ended {os.waitstatus_to_exitcode(status)} {child}\n".encode())

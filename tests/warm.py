"""Start the installed command as a fork of an interpreter that has loaded it already.

Most of what a test of the command line costs is Python's start and its imports. ``run`` takes
the place of ``subprocess.run``: a server, one for each process that runs tests, forks, and the
fork makes of itself what a fresh process of the command would be: arguments, streams,
environment (also as ``/proc`` shows it), directory, umask, signals. What a fork cannot have, as
another user or other resource limits than at the session's start, gets the real start.

The server is this file, run as a script; it ends with the process that has started it.
"""

import array
import contextlib
import ctypes
import gc
import json
import locale
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["run", "serving"]

_NUMBER = struct.Struct("=i")  # a process ID, then its status
# An interpreter and the C library look at these before anything else runs.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "COVERAGE_")
# Bytes of arguments, and of environment, that a fork can show.
_ARGUMENTS, _ENVIRONMENT = 4096, 32768

# What subprocess hands on to a child, beside what is given in each call.
_INHERITED = (
    *("Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd"),
    *("CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed", "THP_enabled"),
)
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid_for_children", "user", "uts")

Word = str | bytes | os.PathLike[str]


class _Server:
    """This end of it; its process is started when it is first wanted."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._socket: socket.socket | None = None
        self._inherited = _inherited()
        self._environment = os.environb.copy()
        self._read_at_start = _read_at_start(self._environment)

    def can_start(self, command: Sequence[Word], environment: Mapping[bytes, bytes]) -> bool:
        """Whether a fork is what a fresh process of this command would be."""
        words = [os.fsencode(word) for word in command]
        return (
            words[0] == os.fsencode(self._command)
            and sum(map(len, words)) + len(words) < _ARGUMENTS
            and sum(len(name) + len(value) + 2 for name, value in environment.items())
            < _ENVIRONMENT
            and not any(b"\0" in word for word in (*words, *environment, *environment.values()))
            and not any(b"=" in name or not name for name in environment)
            and _read_at_start(environment) == self._read_at_start
            and _inherited() == self._inherited
        )

    def start(
        self,
        command: Sequence[Word],
        environment: Mapping[bytes, bytes],
        directory: str | os.PathLike[str] | None,
        umask: int,
        streams: Sequence[int],
    ) -> socket.socket:
        """Have a fork made; its process ID, then its status, can be read from what is returned."""
        if self._socket is None:
            self._launch()
        assert self._socket is not None
        told = {
            "words": list(map(os.fsdecode, command)),
            "environment": [[os.fsdecode(one) for one in pair] for pair in environment.items()],
            "umask": umask,
        }
        at = os.open("." if directory is None else directory, os.O_PATH | os.O_DIRECTORY)
        ours, theirs = socket.socketpair()
        try:
            given = array.array("i", [*streams, at, theirs.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)]
            self._socket.sendmsg([b"!"], rights)
        finally:
            os.close(at)
            theirs.close()
        ours.sendall(json.dumps(told).encode())
        ours.shutdown(socket.SHUT_WR)
        return ours

    def _launch(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.run(
                [sys.executable, __file__, self._command, str(theirs.fileno()), "x" * _ARGUMENTS],
                env={**self._environment, b"CMEMRUN_TEST_ROOM": b"x" * _ENVIRONMENT},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                check=True,
            )

    def close(self) -> None:
        if self._socket is not None:
            with self._socket:
                self._socket.shutdown(socket.SHUT_WR)
                self._socket.recv(1)  # until it has ended


_server: _Server | None = None


@contextlib.contextmanager
def serving(command: str) -> Iterator[None]:
    """Start this command warm, in ``run``, as this process is now."""
    global _server  # noqa: PLW0603
    _server = _Server(command)
    try:
        yield
    finally:
        _server.close()
        _server = None


def run(
    command: Sequence[Word],
    *,
    input: str | bytes | None = None,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    capture_output: bool = False,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
    check: bool = False,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    umask: int = -1,
    **more: Any,
) -> "subprocess.CompletedProcess[Any]":
    """As ``subprocess.run``, warm where that makes no difference."""
    environment = {os.fsencode(name): os.fsencode(one) for name, one in (env or {}).items()}
    if env is None:
        environment = os.environb.copy()
    if more or _server is None or not _server.can_start(command, environment):
        given: dict[str, Any] = {"stdin": stdin} if input is None else {"input": input}
        given |= {"timeout": timeout, "env": env, "cwd": cwd, "umask": umask, "text": text}
        given |= {"encoding": encoding, "errors": errors}
        given |= {"stdout": stdout, "stderr": stderr, "capture_output": capture_output}
        return subprocess.run(command, check=check, **given, **more)
    if capture_output:
        stdout = stderr = subprocess.PIPE
    if input is not None:
        stdin = subprocess.PIPE
    data = input.encode(encoding or "utf-8") if isinstance(input, str) else input or b""
    with contextlib.ExitStack() as passed, contextlib.ExitStack() as kept:
        fds: list[int] = []
        ends: list[int | None] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            if wanted == subprocess.STDOUT:
                fd, end = fds[1], None
            else:
                fd, end = _stream(number, wanted, passed, kept)
            fds.append(fd)
            ends.append(end)
        mask = umask if umask >= 0 else int(_status()["Umask"], 8)
        talk = kept.enter_context(_server.start(command, environment, cwd, mask, fds))
        passed.close()
        process = _Process(command, talk)
        status, outputs = process.communicate(*ends, data=data, timeout=timeout)
    told: list[Any] = outputs
    if text or encoding or errors:
        told = [one if one is None else _text(one, encoding, errors) for one in outputs]
    done = subprocess.CompletedProcess(command, status, *told)
    if check:
        done.check_returncode()
    return done


def _text(data: bytes, encoding: str | None, errors: str | None) -> str:
    text = data.decode(encoding or locale.getpreferredencoding(False), errors or "strict")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Process:
    """One fork, which the server waits for and tells us of."""

    def __init__(self, command: Sequence[Word], talk: socket.socket) -> None:
        self._command, self._talk = command, talk
        self._pid = self._hear()

    def communicate(
        self,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        *,
        data: bytes,
        timeout: float | None,
    ) -> tuple[int, list[bytes | None]]:
        """Give it its input and wait for its end; its status, and what it wrote."""
        deadline = None if timeout is None else time.monotonic() + timeout
        taken = {fd: bytearray() for fd in (stdout, stderr) if fd is not None}
        left, status = memoryview(data), None
        try:
            with selectors.DefaultSelector() as selector:
                for fd in taken:
                    selector.register(fd, selectors.EVENT_READ)
                if stdin is not None:
                    os.set_blocking(stdin, False)
                    selector.register(stdin, selectors.EVENT_WRITE)
                selector.register(self._talk, selectors.EVENT_READ)
                while selector.get_map():
                    wait = None if deadline is None else deadline - time.monotonic()
                    if wait is not None and wait <= 0:
                        raise subprocess.TimeoutExpired(self._command, timeout or 0)
                    for key, _ in selector.select(wait):
                        fd = key.fd
                        if key.fileobj is self._talk:
                            status = self._hear()
                            selector.unregister(self._talk)
                        elif fd == stdin:
                            left = _write_some(fd, left)
                            if not left:
                                selector.unregister(fd)
                                os.close(fd)
                        elif part := os.read(fd, 65536):
                            taken[fd] += part
                        else:
                            selector.unregister(fd)
        finally:
            if status is None:
                os.kill(self._pid, signal.SIGKILL)
                status = self._hear()
        told = [None if fd is None else bytes(taken[fd]) for fd in (stdout, stderr)]
        return os.waitstatus_to_exitcode(status), told

    def _hear(self) -> int:
        told = self._talk.recv(_NUMBER.size, socket.MSG_WAITALL)
        assert len(told) == _NUMBER.size, "the server of warm starts has died"
        number: int = _NUMBER.unpack(told)[0]
        return number


def _write_some(fd: int, data: memoryview) -> memoryview:
    """What is left of it; nothing where nobody reads any more."""
    try:
        return data[os.write(fd, data[:65536]) :] if data else data
    except BrokenPipeError:
        return data[:0]


def _stream(
    number: int,
    wanted: int | IO[Any] | None,
    passed: contextlib.ExitStack,
    kept: contextlib.ExitStack,
) -> tuple[int, int | None]:
    """The fork's end of a standard stream, and ours where it is a pipe."""
    if wanted is None:
        return number, None
    if wanted == subprocess.DEVNULL:
        end = os.open(os.devnull, os.O_RDWR)
        passed.callback(os.close, end)
        return end, None
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        theirs, ours = (writing, reading) if number else (reading, writing)
        passed.callback(os.close, theirs)
        if number:
            kept.callback(os.close, ours)
        return theirs, ours
    return wanted if isinstance(wanted, int) else wanted.fileno(), None


def _read_at_start(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    first = tuple(map(os.fsencode, _READ_AT_START))
    return {name: value for name, value in environment.items() if name.startswith(first)}


def _inherited() -> tuple[object, ...]:
    """All that a child of ours would have from us."""
    status = _status()
    return (
        [status.get(name) for name in _INHERITED],
        Path("/proc/self/cgroup").read_text(),
        Path("/proc/self/oom_score_adj").read_text(),
        [
            resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        ],
        [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.stat("/")[:3],
        os.getpgrp(),
    )


def _status() -> dict[str, str]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _serve(listening: socket.socket) -> tuple[socket.socket, list[int]]:
    """Fork for everyone who asks; returns in the forks, and ends when nobody can ask."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The terminal's Ctrl-C is for who runs the tests, and for the forks.
    interrupt = signal.signal(signal.SIGINT, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(waking, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == waking:
                    os.read(waking, 4096)
                    continue
                word, fds, *_ = socket.recv_fds(listening, 1, 8)
                if not word:
                    os._exit(0)
                talk = socket.socket(fileno=fds.pop())
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, interrupt)
                    return talk, fds
                for fd in fds:
                    os.close(fd)
                talk.sendall(_NUMBER.pack(pid))
                running[pid] = talk
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with contextlib.suppress(BrokenPipeError), running.pop(pid) as talk:
                        talk.sendall(_NUMBER.pack(status))


def _become(talk: socket.socket, fds: list[int]) -> None:
    """Be what a fresh process would be, of the command that we are told."""
    told = b"".join(iter(lambda: talk.recv(65536), b""))
    request = json.loads(told)
    *streams, directory = fds
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.fchdir(directory)
    os.umask(request["umask"])
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))
    talk.detach()
    os.environ.clear()
    os.environ.update(dict(request["environment"]))
    time.tzset()
    words = [sys.executable, *request["words"]]
    _show(words, request["environment"])
    sys.orig_argv[:], sys.argv[:] = words, words[1:]
    Path("/proc/self/comm").write_text(os.path.basename(words[1]))
    _reopen_streams()


def _show(words: list[str], environment: list[list[str]]) -> None:
    """Have ``/proc`` show the arguments and the environment that it would show of an exec.

    Where the kernel has put them at the server's start (proc_pid_stat(5)); nothing uses them
    any more, as each variable has been set anew.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, last, begin, end = map(int, fields[45:49])
    for start, stop, entries in (
        (first, last, words),
        (begin, end, [f"{name}={value}" for name, value in environment]),
    ):
        block = b"".join(os.fsencode(entry) + b"\0" for entry in entries)
        ctypes.memmove(start, block.ljust(stop - start, b"\0"), stop - start)


def _reopen_streams() -> None:
    """Buffered and encoded as the interpreter has them, for what they are now."""
    told = [(one.encoding, one.errors) for one in (sys.stdin, sys.stdout, sys.stderr)]
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        encoding, errors = told[number]
        is_lines = number == 2 or os.isatty(number)
        stream = open(  # noqa: SIM115
            *(number, mode, 1 if is_lines else -1, encoding, errors, "\n"), closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _load() -> None:
    """All of the command's own modules, and what they load."""
    import importlib
    import pkgutil

    import cmemrun

    for module in pkgutil.walk_packages(cmemrun.__path__, "cmemrun."):
        if module.name != "cmemrun.pytest_plugin":
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    if os.fork():  # tests of the API look at their children: the server is to be none of them
        os._exit(0)
    sys.path[0] = os.path.dirname(sys.argv[1])
    _load()
    _become(*_serve(socket.socket(fileno=int(sys.argv[2]))))
    from cmemrun.__main__ import main

    main()

"""What the tests inherit, made the same for all: whoever starts them, and however.

A job of a shell's background has Ctrl-C ignored, nohup's SIGHUP; CI sets variables that make
programs talk otherwise; a user has a locale, a umask, a pager. All that is inherited by what
the tests start. A test that is about one of these sets it itself.
"""

import locale
import os
import shlex
import signal
import sys
import tempfile

import pytest

__all__ = ["in_guest", "make_usual"]

# How programs talk, what Python does at its start, and what a CI service tells its jobs.
_PREFIXES = ("LC_", "GITHUB_", "GITLAB_", "RUNNER_", "CI_", "CLICOLOR", "MPL", "PYTHON")
_NAMES = frozenset(
    {
        *("LANGUAGE", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "LINES", "CI"),
        *("TERMINAL_WIDTH", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PAGER", "MANPAGER", "MANWIDTH"),
        *("ENV", "BASH_ENV", "POSIXLY_CORRECT", "COMP_WORDS", "COMP_CWORD"),
    }
)
# Where Python finds what is installed in a guest, and keeps what it has compiled.
_KEPT = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX"})
_SET = {"LANG": "C.UTF-8", "TERM": "xterm"}
_UMASK = 0o022
# Python ignores these itself, and lets what it starts have them as usual.
_OF_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


def in_guest() -> bool:
    """Whether this is one of our guests, a machine with nothing but the tests."""
    return "CMEMRUN_TEST_GUEST" in os.environ


def make_usual() -> None:
    """Have signals, standard streams, umask and environment as an interactive shell has them."""
    if sys.getfilesystemencoding() != "utf-8":
        pytest.exit(f"the tests need UTF-8: set LC_ALL to C.UTF-8, not {os.environ.get('LC_ALL')}")
    _fill_standard_streams()
    _take_signals()
    os.umask(_UMASK)
    for name in list(os.environ):
        if name in _NAMES or (name.startswith(_PREFIXES) and name not in _KEPT):
            del os.environ[name]
    for name in _NAMES:
        os.unsetenv(name)  # readline sets the terminal's size where os.environ does not see it
    os.environ.update(_SET)
    # Tests write paths into scripts, where a space would divide them.
    if shlex.quote(tempfile.gettempdir()) != tempfile.gettempdir():
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
    locale.setlocale(locale.LC_CTYPE, "")
    sys.dont_write_bytecode = False


def _fill_standard_streams() -> None:
    """Have nothing else opened in the place of one that was closed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _take_signals() -> None:
    """Ignore none and block none: what is ignored or blocked, exec hands on."""
    for signum in signal.valid_signals() - _OF_PYTHON:
        if signal.getsignal(signum) is signal.SIG_IGN:
            usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            # The session itself outlives its terminal, as nohup wants it to.
            signal.signal(signum, _survive if signum == signal.SIGHUP else usual)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _survive(signum: int, frame: object) -> None:
    """A handler, which no program that we start inherits."""

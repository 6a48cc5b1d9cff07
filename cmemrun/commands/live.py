"""``--live``: what a run uses, at the bottom of its terminal, while it goes on.

The program writes to the same terminal and knows nothing of us. The terminal's
scrolling region (DECSTBM) keeps its lines above ours, as for apt's progress bar.
A terminal takes one write as a whole, so whatever we do there is one write, that
ends with the cursor where the program had it.
"""

import contextlib
import os
import select
import signal
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from cmemrun.commands.console import colour, write_all
from cmemrun.errors import start_thread
from cmemrun.model import Run, Sample
from cmemrun.series import Series

__all__ = ["Live"]

_TICK_SECONDS = 0.05
_FASTEST_SECONDS = 0.1
_SLOWEST_SECONDS = 1.0
# How long the program has written lines only before we come: what takes the whole
# screen does so at once, and what is over at once needs no view.
_CALM_SECONDS = 0.5
# How long a stopped terminal (Ctrl-S) may hold up the end of a run.
_PATIENCE_SECONDS = 1.0

# Told between its writing and its waiting for a key, less looks again at the next key
# only (iread); so it is told twice.
_CALLS_SECONDS = (0.0, 0.2)

_MOST_WAITING = 1000
_HISTORY_SPANS = 128

_NO_TERMINALS = ("", "dumb", "unknown")


class Live:
    """An observer with a thread of its own, which alone writes to the terminal."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._sample: Sample | None = None
        self._history = Series(_FASTEST_SECONDS, _HISTORY_SPANS)
        self._told: deque[Sample] = deque(maxlen=_MOST_WAITING)
        self._screen = _Screen()
        self._colour = colour()
        self._started = self._drawn = 0.0
        self._calm_since: float | None = None
        self._is_news = False
        self._hidden = self._closing = False
        self._gone, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._go, name="cmemrun-live", daemon=True)

    @staticmethod
    def is_possible() -> bool:
        """Whether standard error is a terminal that can do what we need."""
        return os.isatty(2) and os.environ.get("TERM", "") not in _NO_TERMINALS

    def begin(self, run: Run) -> None:
        self._run, self._started = run, time.monotonic()
        start_thread(self._thread)

    def sample(self, sample: Sample) -> None:
        self._told.append(sample)

    def hide(self) -> None:
        """Leave the terminal as it was, and alone until ``show``.

        Returns when that is done, or after a second where the terminal is stopped.
        """
        if self._thread.is_alive():
            self._hidden = True
            self._gone.clear()
            self._wake.set()
            self._gone.wait(_PATIENCE_SECONDS)

    def show(self) -> None:
        """Come back, once the program has written lines only for a while."""
        self._hidden = False

    def look(self) -> None:
        """See at once to what has changed in the terminal; returns before that is done."""
        self._wake.set()

    def close(self) -> None:
        """As ``hide``, for good; harmless if never begun."""
        self.hide()
        self._closing = True

    def _go(self) -> None:
        # Where the terminal has gone there is nothing to be seen any more.
        with contextlib.suppress(OSError, termios.error):
            while not (self._closing and self._gone.is_set()):
                self._wake.wait(_TICK_SECONDS)
                self._wake.clear()
                self._take_in()
                if not self._hidden:
                    self._show()
                elif self._screen.clear():
                    self._calm_since = None
                    self._gone.set()
        self._gone.set()

    def _take_in(self) -> None:
        while self._told:
            sample = self._told.popleft()
            self._history.add(sample._replace(processes=()))
            if self._sample and not sample.processes:
                sample = sample._replace(processes=self._sample.processes)
            self._sample, self._is_news = sample, True

    def _show(self) -> None:
        now = time.monotonic()
        if not _writes_lines():
            self._screen.release()
            self._calm_since = None
        elif self._screen.is_left:
            self._screen.clear()
        else:
            self._calm_since = self._calm_since or now
            if now - self._calm_since >= _CALM_SECONDS:
                self._draw(now, os.get_terminal_size(2))

    def _draw(self, now: float, size: os.terminal_size) -> None:
        if self._run is None or self._sample is None:
            return
        if self._screen.is_up(size) and not self._is_due(now):
            return
        from cmemrun.report.panel import View, render, rows_of

        count = rows_of(size.lines, size.columns)
        if not count:
            self._screen.clear()
            return
        view = View(self._run, self._sample, self._history.samples(), now - self._started)
        rows = render(view, rows=count, columns=size.columns, colour=self._colour)
        if self._screen.put(rows, size):
            self._drawn, self._is_news = now, False

    def _is_due(self, now: float) -> bool:
        since = now - self._drawn
        refresh = self._run.method.refresh_seconds if self._run else 0.0
        return since >= (max(refresh, _FASTEST_SECONDS) if self._is_news else _SLOWEST_SECONDS)


# Cursor, colours and character set are saved and restored (DECSC, DECRC); IND goes
# down in its column, and scrolls at the end; DECSTBM without numbers is the whole screen.
_SAVE, _RESTORE, _DOWN, _WHOLE = "\x1b7", "\x1b8", "\x1bD", "\x1b[r"
# In between: no colours, and ASCII, whatever the program has chosen.
_PLAIN = "\x1b[m\x1b(B"
_RELEASE = f"{_SAVE}{_WHOLE}{_RESTORE}"
# Behind the cursor of a program that writes lines is nothing of its own.
_WIPE = f"{_SAVE}{_WHOLE}{_RESTORE}{_SAVE}{_PLAIN}\x1b[J{_RESTORE}"


class _Screen:
    """Our rows at the bottom of the terminal that is standard error."""

    def __init__(self) -> None:
        self._count = 0
        self._size: os.terminal_size | None = None
        """Of the terminal when its margins were set; ``None`` while they are not ours."""
        self.is_left = False
        """The margins have been released, and what we wrote may be there still."""
        self._calls: list[float] = []
        """When whoever took the screen is to be told to look at it again."""

    def is_up(self, size: os.terminal_size) -> bool:
        """Whether we are there, and the terminal has that size still."""
        return self._size == size

    def put(self, rows: Sequence[str], size: os.terminal_size) -> bool:
        """Write our rows, room made for them first where needed; whether that was possible."""
        count, top = len(rows), size.lines - len(rows)
        text = ""
        if not self.is_up(size):
            # With its size a terminal loses its margins, and moves lines about.
            text = f"{_WIPE if self._size else ''}{_DOWN * count}\x1b[{count}A"
        # The margins each time, as a program may have reset the terminal.
        text += f"{_SAVE}\x1b[1;{top}r{_PLAIN}"
        text += "".join(
            f"\x1b[{number};1H{row}\x1b[K" for number, row in enumerate(rows, start=top + 1)
        )
        if not _write(f"{text}{_RESTORE}", unless=lambda: not _writes_lines()):
            return False
        self._count, self._size = count, size
        return True

    def release(self) -> None:
        """Give the whole screen to a program that takes it, and touch nothing of it.

        A pager, that fills the screen with lines, has let them scroll between our
        margins before we saw it: it is told to look at the terminal again, as after
        a change of size. Others put things in their places, within any margins, and
        might take that for a key (curses).
        """
        now = time.monotonic()
        if self._size is not None and _write(_RELEASE):
            self._size, self.is_left = None, True
            self._calls = [now + later for later in _CALLS_SECONDS]
        if self._calls and self._calls[0] <= now:
            del self._calls[0]
            if termios.tcgetattr(2)[1] & termios.ONLCR:
                with contextlib.suppress(OSError):
                    os.killpg(os.tcgetpgrp(2), signal.SIGWINCH)

    def clear(self) -> bool:
        """Leave no trace, as far as the program lets us; whether that is done."""
        if not _writes_lines():
            self.release()
            return self._size is None
        text = ""
        if self._size == os.get_terminal_size(2):
            top = self._size.lines - self._count
            text = f"{_SAVE}{_WHOLE}{_PLAIN}\x1b[{top + 1};1H\x1b[J{_RESTORE}"
        elif self._size is not None or self.is_left:
            text = _WIPE
        if text and not _write(text, unless=lambda: not _writes_lines()):
            return False
        self._size, self.is_left, self._calls = None, False, []
        return True


def _writes_lines() -> bool:
    """Whether we are in the foreground, and the program does not rule over the whole screen.

    No full-screen program has the terminal echo what is typed. Those that ask for
    a password do not either, but read lines; and readline, which edits one line,
    alone takes Enter as it is and leaves Ctrl-C and new lines to the terminal.
    """
    try:
        if os.tcgetpgrp(2) != os.getpgrp():
            return False
    except OSError:  # not the one that we are controlled by
        return False
    taken, given, _, local, *_ = termios.tcgetattr(2)
    if local & termios.ECHO:
        return True
    if not given & termios.ONLCR:
        return False
    return bool(local & termios.ICANON or (local & termios.ISIG and not taken & termios.ICRNL))


def _write(text: str, *, unless: Callable[[], bool] = lambda: False) -> bool:
    """Write to the terminal where it takes something now; whether it did.

    Not without waiting by ``O_NONBLOCK``, which the program would have, too.
    """
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if not poll.poll(_FASTEST_SECONDS * 1000) or unless():
        return False
    write_all(2, text)
    return True

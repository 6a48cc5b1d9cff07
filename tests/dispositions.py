"""Signal dispositions and mask as a shell in the foreground has them, whoever runs the tests.

In the background, below ``nohup`` or in a CI job some are ignored, and who is forked
ignores them, too.
"""

import signal
from collections.abc import Iterator

import pytest

__all__ = ["usual"]

_DEFAULT = (
    *(signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
)


@pytest.fixture
def usual() -> Iterator[None]:
    """Have them for a test, and the caller's again afterwards."""
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in _DEFAULT}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for signum, handler in before.items():
        signal.signal(signum, handler)

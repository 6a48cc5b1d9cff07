"""The command ``cmemrun``, also as ``python -m cmemrun``."""

import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line and end the process with its exit status."""
    # Until a program runs Ctrl-C just ends us, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Nothing that loading makes is garbage: a twelfth of a launch went into
    # looking for it, and a seventh into taking it all apart at the end.
    gc.disable()
    from cmemrun.commands import main as run_command_line

    gc.enable()
    os._exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()

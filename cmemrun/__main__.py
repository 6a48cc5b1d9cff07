"""The command ``cmemrun``, also as ``python -m cmemrun``."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit status."""
    # Nothing that loading makes is garbage: a twelfth of a launch went into
    # looking for it, and a seventh into taking it all apart at the end.
    gc.disable()
    from cmemrun.commands import main as run_command_line

    gc.enable()
    os._exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()

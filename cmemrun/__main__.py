"""The command ``cmemrun``, also as ``python -m cmemrun``."""

import sys


def main() -> None:
    """Run the command line and end the process with its exit status."""
    from cmemrun.commands import main as run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()

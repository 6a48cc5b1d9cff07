"""What is tried and what came of it, for ``--debug`` and for callers who log.

The standard library's logging takes 10 ms to load. Nobody can listen to it who
has not loaded it, so until somebody has, there is nothing to tell.
"""

import sys

__all__ = ["Log"]


class Log:
    """A logger of the standard library, once that is there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, message: str, *values: object) -> None:
        """As ``logging.Logger.debug``."""
        logging = sys.modules.get("logging")
        if logging is not None:
            logging.getLogger(self._name).debug(message, *values)

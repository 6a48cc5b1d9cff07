"""Files that somebody gives us, who may mean harm: never more of one than makes sense."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from cmemrun.errors import BadInput

__all__ = ["about", "read_file", "read_whole"]


@contextlib.contextmanager
def about(path: str) -> Iterator[None]:
    """Have ``BadInput`` name the file that is read, and be raised where it cannot be."""
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"cannot read {path!r}: {error.strerror}",
            hint="see that it is there and readable: ls -l",
        ) from error
    except BadInput as error:
        raise BadInput(f"{path!r}: {error.message}", hint=error.hint) from error


def read_file(path: str, most_bytes: int, what: str) -> bytes:
    """What is in a file, which may be a pipe or a device; ``BadInput`` with the path."""
    with about(path), open(path, "rb") as file:
        return read_whole(file, most_bytes, what)


def read_whole(file: BinaryIO, most_bytes: int, what: str) -> bytes:
    """The rest of an open file; ``BadInput`` where it is larger than any ``what``."""
    text = file.read(most_bytes + 1)
    if len(text) > most_bytes:
        raise BadInput(
            f"it is larger than any {what}, of {most_bytes >> 20} MiB at most",
            hint="see that it is the file you mean",
        )
    return text

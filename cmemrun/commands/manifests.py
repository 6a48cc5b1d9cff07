"""Manifests of Kubernetes, read from files that may be anybody's."""

from typing import TYPE_CHECKING, Any

from cmemrun.commands.reading import about, read_file
from cmemrun.errors import BadInput

if TYPE_CHECKING:
    from cmemrun.kubernetes.pod import Pod

__all__ = ["load_yaml", "read_manifest", "read_pods"]

# Kubernetes takes none of more than 1.5 MiB; to read so much takes ten seconds.
_MOST_BYTES = 2**20
_MOST_VALUES = 100_000
_DEEPEST = 100
# YAML 1.1 has numbers to the base of 60, 1:30:00, which take their length squared.
_LONGEST_PLAIN = 65536


def read_pods(path: str, text: bytes | None = None) -> "list[Pod]":
    """The pods of a manifest; ``BadInput`` with the path where there is none.

    ``text`` is what is in it, where that has been read already.
    """
    from cmemrun.kubernetes.pod import find_pods

    if text is None:
        text = read_manifest(path)
    with about(path):
        pods = list(find_pods(load_yaml(text)))
    if not pods:
        raise BadInput(
            f"{path!r}: there is no pod in it",
            hint="give a Pod, Deployment, StatefulSet, DaemonSet, Job or CronJob",
        )
    return pods


def read_manifest(path: str) -> bytes:
    """What is in a file, which may be a pipe; ``BadInput`` where it cannot be read."""
    return read_file(path, _MOST_BYTES, "manifest")


def load_yaml(text: bytes, *, keep_comments: bool = False) -> list[Any]:
    """The documents of a manifest, plain values only; ``BadInput`` where it is none.

    ``keep_comments``: so that they can be written again as they were.
    """
    import warnings

    from ruamel.yaml import YAML

    try:
        _refuse_bomb(text)
        # Neither makes objects of what a tag names: that takes the loader "unsafe".
        yaml = YAML(typ="rt" if keep_comments else "safe", pure=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is bad style, with a line of its code
            return list(yaml.load_all(text))
    except BadInput:
        raise
    # Of a tag that does not fit its text, !!bool x, the library says whatever Python does.
    except Exception as error:
        raise BadInput(
            f"it is no YAML: {_in_one_line(error)}",
            hint="kubectl apply --dry-run=client -f FILE says more",
        ) from error


def _in_one_line(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem:
        return f"{problem} in line {mark.line + 1}"
    first = str(error).strip().splitlines()
    return first[0] if first else type(error).__name__


def _refuse_long(scalar: Any) -> None:
    # !!int "1:1:…" is a number in quotes.
    if (not scalar.style or scalar.tag) and len(scalar.value) > _LONGEST_PLAIN:
        raise BadInput(
            f"it has a word of {len(scalar.value)} characters", hint="put long texts into quotes"
        )


def _refuse_bomb(text: bytes) -> None:
    """Refuse what is short to write and would take our memory, our stack or forever.

    An alias stands for all that its anchor holds, so ten lines can be more values than
    there are bytes in the world, or contain themselves.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import (
        AliasEvent,
        CollectionEndEvent,
        CollectionStartEvent,
        DocumentStartEvent,
        ScalarEvent,
    )

    values = 0
    held: dict[str, int | None] = {}  # by each anchor, in values; None where it is open still
    around: list[tuple[str | None, int]] = []  # what we are in: its anchor, the values before it
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            stands_for = held.get(event.anchor, 0)
            if stands_for is None:
                raise BadInput(
                    f"its alias *{event.anchor} contains itself",
                    hint="write out what it stands for",
                )
            values += stands_for
        elif isinstance(event, CollectionStartEvent):
            around.append((event.anchor, values))
            if event.anchor is not None:
                held[event.anchor] = None
            values += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = around.pop()
            # Unless something inside has taken the anchor over.
            if anchor is not None and held[anchor] is None:
                held[anchor] = values - before
        elif isinstance(event, ScalarEvent | DocumentStartEvent):
            values += 1
            if isinstance(event, ScalarEvent):
                _refuse_long(event)
                if event.anchor is not None:
                    held[event.anchor] = 1
        if values > _MOST_VALUES:
            raise BadInput(
                f"it has more than {_MOST_VALUES} values, with all aliases unfolded",
                hint="give the manifest of one pod",
            )
        if len(around) > _DEEPEST:
            raise BadInput(
                f"it is nested more than {_DEEPEST} deep", hint="give the manifest of a pod"
            )

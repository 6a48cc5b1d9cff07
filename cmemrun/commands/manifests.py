"""Manifests of Kubernetes, read from files that may be anybody's."""

from typing import TYPE_CHECKING, Any

from cmemrun.commands.reading import read_file
from cmemrun.errors import BadInput

if TYPE_CHECKING:
    from cmemrun.kubernetes.pod import Pod

__all__ = ["load_yaml", "read_manifest", "read_pods"]

# Kubernetes takes none of more than 1.5 MiB; to read so much takes ten seconds.
_MOST_BYTES = 2**20
_MOST_VALUES = 100_000
_DEEPEST = 100


def read_pods(path: str, text: bytes | None = None) -> "list[Pod]":
    """The pods of a manifest; ``BadInput`` with the path where there is none.

    ``text`` is what is in it, where that has been read already.
    """
    from cmemrun.kubernetes.pod import find_pods

    if text is None:
        text = read_manifest(path)
    try:
        pods = list(find_pods(load_yaml(text)))
    except BadInput as error:
        raise BadInput(f"{path!r}: {error.message}", hint=error.hint) from error
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
    from ruamel.yaml import YAML

    try:
        _refuse_bomb(text)
        # Neither makes objects of what a tag names: that takes the loader "unsafe".
        yaml = YAML(typ="rt" if keep_comments else "safe", pure=True)
        return list(yaml.load_all(text))
    except BadInput:
        raise
    # Of a tag that does not fit its text, !!bool x, the library says whatever Python does.
    except Exception as error:
        first = str(error).strip().splitlines()
        raise BadInput(
            f"it is no YAML: {first[0] if first else type(error).__name__}",
            hint="kubectl apply --dry-run=client -f FILE says more",
        ) from error


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
    held: dict[str, int] = {}  # by each anchor, in values
    around: list[tuple[str | None, int]] = []  # what we are in: its anchor, the values before it
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            if any(event.anchor == anchor for anchor, _ in around):
                raise BadInput(
                    f"its alias *{event.anchor} contains itself",
                    hint="write out what it stands for",
                )
            values += held.get(event.anchor, 0)
        elif isinstance(event, CollectionStartEvent):
            around.append((event.anchor, values))
            values += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = around.pop()
            if anchor is not None:
                held[anchor] = values - before
        elif isinstance(event, ScalarEvent | DocumentStartEvent):
            values += 1
            if isinstance(event, ScalarEvent) and event.anchor is not None:
                held[event.anchor] = 1
        if values > _MOST_VALUES:
            raise BadInput(
                f"it unfolds to more than {_MOST_VALUES} values",
                hint="write out what its aliases stand for",
            )
        if len(around) > _DEEPEST:
            raise BadInput(
                f"it is nested more than {_DEEPEST} deep", hint="give the manifest of a pod"
            )

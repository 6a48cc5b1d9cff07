"""A pod as far as memory goes, found in a manifest that was read already."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from cmemrun.errors import BadInput
from cmemrun.kubernetes.quantity import parse_bytes, parse_quantity

__all__ = ["Container", "Pod", "Resources", "containers_of", "find_pods"]

# Where each kind keeps the pod it makes (API reference, workload resources).
_TEMPLATES = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "PodTemplate": ("template",),
}
_CRITICAL = "system-node-critical"
_LARGEST = 2**63


class Resources(NamedTuple):
    """What is asked for; ``None`` where it is not. CPU in cores, memory in bytes."""

    cpu_request: Fraction | None = None
    cpu_limit: Fraction | None = None
    memory_request: int | None = None
    memory_limit: int | None = None

    def defaulted(self) -> "Resources":
        """With requests that are limits where only those are given (API defaulting)."""
        return self._replace(
            cpu_request=self.cpu_limit if self.cpu_request is None else self.cpu_request,
            memory_request=(
                self.memory_limit if self.memory_request is None else self.memory_request
            ),
        )


class Container(NamedTuple):
    """One container of a pod."""

    name: str
    resources: Resources
    init: bool = False
    restartable: bool = False
    """A sidecar: an init container that goes on (``restartPolicy: Always``)."""


class Pod(NamedTuple):
    """What the kubelet is told of a pod."""

    name: str
    containers: tuple[Container, ...]
    resources: Resources | None = None
    """Of the pod as a whole, where it has some (1.34, beta)."""
    node_critical: bool = False
    warnings: tuple[str, ...] = ()

    def container(self, name: str | None) -> Container:
        """The one of this name, or the only one that is no init container; ``BadInput``."""
        found = [
            one
            for one in self.containers
            if (one.name == name if name is not None else not one.init)
        ]
        if len(found) == 1:
            return found[0]
        names = ", ".join(one.name for one in self.containers)
        which = f"there is no container {name!r}" if name is not None else "it has several"
        raise BadInput(f"pod {self.name}: {which}", hint=f"--container one of: {names}")


def find_pods(documents: Iterable[Any]) -> Iterator[Pod]:
    """The pods of a manifest's documents; other kinds are passed over.

    Raises ``BadInput`` where one is no manifest, or has a quantity that is none.
    """
    for document, template in _templates(documents):
        yield _pod(template, fallback=_name(document))


def containers_of(documents: Iterable[Any]) -> Iterator[Any]:
    """The containers of those pods as they stand in the documents, to be changed there."""
    for _, template in _templates(documents):
        spec = _mapping(template.get("spec"), "spec")
        for key in ("initContainers", "containers"):
            yield from _list(spec, key)


def _templates(documents: Iterable[Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each document that makes pods, and what it makes them from."""
    for document in documents:
        if document is None:
            continue
        kind = _mapping(document, "the manifest").get("kind")
        if not isinstance(kind, str):
            continue
        if kind == "List":
            yield from _templates(_list(document, "items"))
        elif kind in _TEMPLATES:
            template = document
            for step in _TEMPLATES[kind]:
                template = _mapping(template.get(step), f"{kind}: {step}")
            yield document, template


def _pod(template: Mapping[str, Any], fallback: str) -> Pod:
    spec = _mapping(template.get("spec"), "spec")
    warnings: list[str] = []
    containers = [
        _container(one, warnings, init=key == "initContainers")
        for key in ("initContainers", "containers")
        for one in _list(spec, key)
    ]
    if not any(not one.init for one in containers):
        raise BadInput(f"pod {fallback}: it has no containers", hint="give a whole manifest")
    whole = spec.get("resources")
    return Pod(
        name=_name(template, fallback),
        containers=tuple(containers),
        resources=_resources(whole, "the pod", warnings) if whole else None,
        node_critical=spec.get("priorityClassName") == _CRITICAL,
        warnings=tuple(warnings),
    )


def _container(read: Any, warnings: list[str], *, init: bool) -> Container:
    told = _mapping(read, "a container")
    name = told.get("name")
    if not isinstance(name, str):
        raise BadInput("one of its containers has no name", hint="give a whole manifest")
    return Container(
        name=name,
        resources=_resources(told.get("resources") or {}, f"container {name}", warnings),
        init=init,
        restartable=init and told.get("restartPolicy") == "Always",
    )


def _resources(read: Any, whose: str, warnings: list[str]) -> Resources:
    told = _mapping(read, f"resources of {whose}")
    found: dict[str, Any] = {}
    for kind in ("requests", "limits"):
        given = _mapping(told.get(kind) or {}, f"{kind} of {whose}")
        short = kind.removesuffix("s")
        if (memory := given.get("memory")) is not None:
            found[f"memory_{short}"] = _of(whose, parse_bytes, memory)
            if str(memory).endswith("m"):
                warnings.append(
                    f"{whose}: memory {memory!r} is milli-bytes,"
                    f" {found[f'memory_{short}']} in whole bytes: was Mi meant?"
                )
        if (cpu := given.get("cpu")) is not None:
            found[f"cpu_{short}"] = _of(whose, parse_quantity, cpu)
    return Resources(**found).defaulted()


def _of(whose: str, parse: Any, value: Any) -> Any:
    # Of thousands of digits Python writes none.
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise BadInput(f"{whose}: so large a number is no quantity", hint="write 512Mi for example")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInput(f"{whose}: {value!r:.80} is no quantity", hint="write 512Mi for example")
    try:
        return parse(str(value))
    except BadInput as error:
        raise BadInput(f"{whose}: {error.message}", hint=error.hint) from error


def _name(told: Mapping[str, Any], fallback: str = "?") -> str:
    metadata = told.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else fallback


def _mapping(read: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(read, Mapping):
        raise BadInput(f"{what} is no mapping", hint="give a Kubernetes manifest")
    return read


def _list(read: Mapping[str, Any], key: str) -> list[Any]:
    found = read.get(key) or []
    if not isinstance(found, list):
        raise BadInput(f"{key} is no list", hint="give a Kubernetes manifest")
    return found

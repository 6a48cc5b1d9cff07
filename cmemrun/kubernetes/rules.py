"""The kubelet's rules: from a container's resources to files of its group (cgroup v2)."""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

from cmemrun.errors import BadInput
from cmemrun.kubernetes.pod import Container, Pod, Resources
from cmemrun.model import Setting

__all__ = ["NEWEST", "Kubelet", "Qos", "oom_score_adj", "qos_of", "settings"]

NEWEST = (1, 37)
_OLDEST = (1, 22)

_RESOURCES = "pkg/kubelet/kuberuntime/kuberuntime_container_linux.go"
_POLICY = "pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust"
_MEMORY_QOS = "KEP-2570 (Memory QoS)"

_GUARANTEED_ADJ = -997
_BEST_EFFORT_ADJ = 1000


class Qos(Enum):
    """The classes of pods."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


class Kubelet(NamedTuple):
    """The node and its configuration; sizes in bytes."""

    memory_bytes: int
    """The machine's, not what is allocatable."""
    swap_bytes: int = 0
    page_bytes: int = 4096
    version: tuple[int, int] = NEWEST
    limited_swap: bool = False
    single_process_oom_kill: bool = False
    memory_qos: bool = False
    throttling_factor: Fraction | None = None
    """``None`` for the release's own."""


def qos_of(pod: Pod) -> Qos:
    """The class of a pod (``ComputePodQOS``, pkg/apis/core/v1/helper/qos/qos.go).

    Of CPU and memory only, and only of what is above 0; init containers count.
    """
    asked = [pod.resources] if pod.resources else [one.resources for one in pod.containers]
    requests, limits = _sums(asked, "request"), _sums(asked, "limit")
    if not requests and not limits:
        return Qos.BEST_EFFORT
    limited = all(one.cpu_limit and one.memory_limit for one in asked)
    return Qos.GUARANTEED if limited and requests == limits else Qos.BURSTABLE


def oom_score_adj(pod: Pod, container: Container, kubelet: Kubelet) -> int:
    """What the kernel adds to a process's badness, from -997 to 1000 (see ``_POLICY``)."""
    qos = qos_of(pod)
    if pod.node_critical or qos is Qos.GUARANTEED:
        return _GUARANTEED_ADJ
    if qos is Qos.BEST_EFFORT:
        return _BEST_EFFORT_ADJ
    adj = _burstable_adj(pod, container, kubelet)
    if container.restartable:
        regular = [one for one in pod.containers if not one.init]
        smallest = min(regular, key=_request)
        adj = min(adj, _burstable_adj(pod, smallest, kubelet))
    # Above every guaranteed one, which may have 10 of badness, and below best effort.
    least = _BEST_EFFORT_ADJ + _GUARANTEED_ADJ
    return min(max(adj, least), _BEST_EFFORT_ADJ - 1)


def settings(pod: Pod, container: Container, kubelet: Kubelet) -> list[Setting]:
    """What the kubelet has written for a container; ``BadInput`` for a release we do not know."""
    if not _OLDEST <= kubelet.version <= NEWEST:
        raise BadInput(
            f"--k8s-version: the rules of {_dotted(kubelet.version)} are not known",
            hint=f"give one from {_dotted(_OLDEST)} to {_dotted(NEWEST)}",
        )
    limit, of_pod = container.resources.memory_limit, False
    if not limit and pod.resources and pod.resources.memory_limit:
        limit, of_pod = pod.resources.memory_limit, True
    found = [_maximum(limit, of_pod), _swap(pod, container, kubelet)]
    found.append(_group_kill(kubelet))
    qos = qos_of(pod).value
    found.append(
        Setting(
            "oom_score_adj",
            str(oom_score_adj(pod, container, kubelet)),
            f"{qos}{', node-critical' if pod.node_critical else ''}: memory request"
            f" {_request(container)} of {kubelet.memory_bytes} bytes",
            _POLICY,
        )
    )
    if kubelet.memory_qos:
        found.extend(_memory_qos(pod, container, limit, kubelet))
    return found


def _maximum(limit: int | None, of_pod: bool) -> Setting:
    source = f"{_RESOURCES}, calculateLinuxResources"
    if not limit:
        return Setting("memory.max", "max", "no limit: the file is left as it is", source)
    whose = "the pod's limit, as the container has none" if of_pod else "the container's limit"
    return Setting("memory.max", str(limit), whose, source)


def _swap(pod: Pod, container: Container, kubelet: Kubelet) -> Setting:
    source = f"{_RESOURCES}, configureContainerSwapResources"
    if not kubelet.limited_swap:
        return Setting("memory.swap.max", "0", "NoSwap, the default", source)
    request, limit = _request(container), container.resources.memory_limit or 0
    allowed = (
        kubelet.version >= (1, 28)
        and not pod.node_critical
        and qos_of(pod) is Qos.BURSTABLE
        and request > 0
        and request != limit
    )
    if not allowed:
        rule = "LimitedSwap: only Burstable, with a memory request that is not its limit (1.28)"
        return Setting("memory.swap.max", "0", rule, source)
    # In floating point, as Go has it.
    share = int(request / kubelet.memory_bytes * kubelet.swap_bytes)
    rule = f"LimitedSwap: its request's share of {kubelet.swap_bytes} bytes of swap"
    return Setting("memory.swap.max", str(share), rule, source)


def _group_kill(kubelet: Kubelet) -> Setting:
    source = "kubernetes#117793 (1.28), #126096 (singleProcessOOMKill, 1.32)"
    if kubelet.version < (1, 28):
        return Setting("memory.oom.group", "0", "before 1.28 one process is killed", source)
    if kubelet.single_process_oom_kill and kubelet.version >= (1, 32):
        return Setting("memory.oom.group", "0", "singleProcessOOMKill: true", source)
    return Setting("memory.oom.group", "1", "the whole container is killed together", source)


def _memory_qos(
    pod: Pod, container: Container, limit: int | None, kubelet: Kubelet
) -> Iterator[Setting]:
    request, qos = _request(container), qos_of(pod)
    tiered = kubelet.version >= (1, 36)
    if request:
        if not tiered:
            rule = "Memory QoS before 1.36: the request"
            yield Setting("memory.min", str(request), rule, _MEMORY_QOS)
        else:
            file = "memory.min" if qos is Qos.GUARANTEED else "memory.low"
            rule = f"TieredReservation, {qos.value}: the request"
            yield Setting(file, str(request), rule, _MEMORY_QOS)
    factor = kubelet.throttling_factor
    if factor is None:
        factor = _default_factor(kubelet.version)
    if factor is None:
        return
    ceiling = limit or kubelet.memory_bytes
    whose = "limit" if limit else "node's memory (allocatable on a real node)"
    # Until 1.37 the two zeroes of BestEffort were taken for request == limit.
    if request == (limit or 0) and not (request == 0 and kubelet.version >= (1, 37)):
        return
    if kubelet.version < (1, 27):
        high, rule = factor * ceiling, f"{float(factor):g} of the {whose}"
    else:
        high = request + factor * (ceiling - request)
        rule = f"request + {float(factor):g} x ({whose} - request)"
    value = math.floor(high / kubelet.page_bytes) * kubelet.page_bytes
    if value > request:
        yield Setting("memory.high", str(value), f"{rule}, in whole pages", _MEMORY_QOS)


def _default_factor(version: tuple[int, int]) -> Fraction | None:
    if version >= (1, 37):
        return None
    return Fraction(9, 10) if version >= (1, 27) else Fraction(8, 10)


def _burstable_adj(pod: Pod, container: Container, kubelet: Kubelet) -> int:
    request = _request(container)
    if pod.resources and pod.resources.memory_request:
        unassigned = pod.resources.memory_request - sum(map(_request, pod.containers))
        request += max(0, unassigned) // len(pod.containers)
    return 1000 - 1000 * request // kubelet.memory_bytes


def _request(container: Container) -> int:
    return container.resources.memory_request or 0


def _sums(asked: Iterable[Resources], kind: str) -> dict[str, Fraction | int]:
    """By resource what is asked for in all, without what nobody asks for."""
    sums: dict[str, Fraction | int] = {}
    for one in asked:
        for name in ("cpu", "memory"):
            value = getattr(one, f"{name}_{kind}")
            if value:
                sums[name] = sums.get(name, 0) + value
    return sums


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))

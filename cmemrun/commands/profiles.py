"""Which of a container manager's rules a run is to have, from the options that name one."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cmemrun.errors import BadInput
from cmemrun.model import Limits, Setting
from cmemrun.profile import limits_of

if TYPE_CHECKING:
    from cmemrun.commands.options.run import RunOptions
    from cmemrun.kubernetes.pod import Container, Pod
    from cmemrun.kubernetes.rules import Kubelet

__all__ = ["Profile", "profile_of"]


class Profile(NamedTuple):
    """The files of a v2 group as somebody's rules have them."""

    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]

    @property
    def limits(self) -> Limits:
        """As limits of a group of ours."""
        return limits_of(self.settings)


def profile_of(options: "RunOptions") -> Profile | None:
    """What was asked for, ``None`` where nothing was; ``BadInput`` for what is refused."""
    of_pod = [options.k8s_limit, options.k8s_request, options.cpu_request, options.cpu_limit]
    ways = [
        name
        for name, given in {
            "--docker": options.docker is not None,
            "--podman": options.podman is not None,
            "--pod": options.pod is not None,
            "--k8s-limit": any(one is not None for one in of_pod),
        }.items()
        if given
    ]
    if len(ways) > 1:
        raise BadInput(f"{' and '.join(ways)} are two sets of rules", hint="give one of them")
    if not ways:
        return None
    if options.docker is not None or options.podman is not None:
        from cmemrun.docker import docker_settings, podman_settings

        if options.docker is not None:
            found, warnings = docker_settings(options.docker)
        else:
            found, warnings = podman_settings(options.podman or "", _least_score())
        return Profile(tuple(found), tuple(warnings))
    from cmemrun.commands.manifests import read_pods
    from cmemrun.kubernetes.rules import settings as kubelet_settings

    pod = _pod_of_options(options) if options.pod is None else _only(read_pods(options.pod))
    container = pod.container(options.container)
    kubelet = _kubelet(options)
    return Profile(
        tuple(kubelet_settings(pod, container, kubelet)),
        (*pod.warnings, *_warnings(pod, container, kubelet)),
    )


def _only(pods: "list[Pod]") -> "Pod":
    if len(pods) > 1:
        names = ", ".join(pod.name for pod in pods)
        raise BadInput(f"--pod: there are several pods: {names}", hint="give a file with one")
    return pods[0]


def _pod_of_options(options: "RunOptions") -> "Pod":
    from cmemrun.kubernetes.pod import Container, Pod, Resources

    resources = Resources(
        cpu_request=_cores(options.cpu_request),
        cpu_limit=_cores(options.cpu_limit),
        memory_request=options.k8s_request,
        memory_limit=options.k8s_limit,
    )
    return Pod("of the options", (Container("program", resources.defaulted()),))


def _cores(thousandths: int | None) -> Fraction | None:
    return None if thousandths is None else Fraction(thousandths, 1000)


def _least_score() -> int:
    """The ``oom_score_adj`` that we may still give: rootless Podman asks no more of the kernel."""
    if os.geteuid() == 0:
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def _kubelet(options: "RunOptions") -> "Kubelet":
    from cmemrun.kubernetes.rules import NEWEST, Kubelet

    page_bytes = os.sysconf("SC_PAGESIZE")
    factor = options.throttling_factor
    memory_bytes = options.node_memory or os.sysconf("SC_PHYS_PAGES") * page_bytes
    return Kubelet(
        memory_bytes=memory_bytes,
        swap_bytes=options.node_swap or 0,
        page_bytes=page_bytes,
        version=options.k8s_version or NEWEST,
        limited_swap=options.node_swap is not None,
        single_process_oom_kill=options.single_process_oom_kill,
        memory_qos=options.memory_qos or factor is not None,
        throttling_factor=None if factor is None else Fraction(str(factor)),
    )


def _warnings(pod: "Pod", container: "Container", kubelet: "Kubelet") -> Iterator[str]:
    resources = container.resources
    limit, request = resources.memory_limit, resources.memory_request
    if limit and request and request > limit:
        yield f"container {container.name}: its memory request is more than its limit: refused"
    if request and request > kubelet.memory_bytes:
        yield f"container {container.name}: no node of {kubelet.memory_bytes} bytes takes it"

"""Pods and what the kubelet makes of them, each value worked out by hand from its source.

The node has 16 GiB (17179869184 bytes) and 4 GiB of swap. Sources: QoS classes from
pkg/apis/core/v1/helper/qos/qos.go (ComputePodQOS), oom_score_adj from
pkg/kubelet/qos/policy.go (GetContainerOOMScoreAdjust), swap and Memory QoS from
pkg/kubelet/kuberuntime/kuberuntime_container_linux.go.
"""

from fractions import Fraction
from typing import Any

import pytest

from cmemrun.errors import BadInput
from cmemrun.kubernetes.pod import Pod, find_pods
from cmemrun.kubernetes.rules import Kubelet, Qos, qos_of, settings
from cmemrun.profile import limits_of

MIB, GIB = 2**20, 2**30
NODE = Kubelet(memory_bytes=16 * GIB, swap_bytes=4 * GIB)


def container(name: str, requests: Any = None, limits: Any = None, **more: Any) -> dict[str, Any]:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"name": name, "resources": resources} | more


def pod_of(*containers: dict[str, Any], **spec: Any) -> Pod:
    manifest = {
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": list(containers)} | spec,
    }
    [pod] = find_pods([manifest])
    return pod


def values(pod: Pod, name: str | None = None, kubelet: Kubelet = NODE) -> dict[str, str]:
    found = settings(pod, pod.container(name), kubelet)
    assert all(one.rule and one.source for one in found)
    return {one.file: one.value for one in found}


def test_guaranteed() -> None:
    both = {"cpu": "500m", "memory": "1Gi"}
    pod = pod_of(container("app", both, both))
    assert qos_of(pod) is Qos.GUARANTEED
    # Guaranteed: -997, whatever its size.
    assert values(pod) == {
        "memory.max": "1073741824",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "oom_score_adj": "-997",
    }


def test_limits_alone_are_requests_as_well() -> None:
    pod = pod_of(container("app", limits={"cpu": 1, "memory": "1Gi"}))
    assert qos_of(pod) is Qos.GUARANTEED
    # Without a CPU limit it is not: memory alone does not do.
    pod = pod_of(container("app", {"memory": "1Gi"}, {"memory": "1Gi"}))
    assert qos_of(pod) is Qos.BURSTABLE
    # 1000 - 1000 x 1 GiB / 16 GiB = 1000 - 62 (62.5, cut off)
    assert values(pod)["oom_score_adj"] == "938"


def test_burstable() -> None:
    pod = pod_of(container("app", {"memory": "512Mi"}, {"memory": "1Gi"}))
    assert qos_of(pod) is Qos.BURSTABLE
    # 1000 - 1000 x 512 MiB / 16 GiB = 1000 - 31 (31.25)
    assert values(pod) == {
        "memory.max": "1073741824",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "oom_score_adj": "969",
    }
    swapping = NODE._replace(limited_swap=True)
    # 512 MiB / 16 GiB x 4 GiB = 128 MiB
    assert values(pod, kubelet=swapping)["memory.swap.max"] == str(128 * MIB)
    same = pod_of(container("app", {"memory": "1Gi", "cpu": "1"}, {"memory": "1Gi"}))
    assert values(same, kubelet=swapping)["memory.swap.max"] == "0"


def test_best_effort_and_no_limits() -> None:
    pod = pod_of(container("app"))
    assert qos_of(pod) is Qos.BEST_EFFORT
    assert values(pod) == {
        "memory.max": "max",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "oom_score_adj": "1000",
    }
    zero = pod_of(container("app", {"memory": "0", "cpu": "0"}))
    assert qos_of(zero) is Qos.BEST_EFFORT
    # Burstable by its CPU request alone: 1000 - 0 = 1000, and so 999.
    cpu = pod_of(container("app", {"cpu": "100m"}))
    assert qos_of(cpu) is Qos.BURSTABLE and values(cpu)["oom_score_adj"] == "999"


def test_two_containers() -> None:
    both = {"cpu": "1", "memory": "4Gi"}
    pod = pod_of(container("app", both, both), container("side", {"memory": "64Mi"}))
    # One without limits makes the whole pod Burstable.
    assert qos_of(pod) is Qos.BURSTABLE
    # 1000 - 1000 x 4 / 16 = 750; 1000 - 1000 x 64 MiB / 16 GiB = 1000 - 3 (3.9)
    assert values(pod, "app")["oom_score_adj"] == "750"
    assert values(pod, "side")["oom_score_adj"] == "997"
    assert values(pod, "side")["memory.max"] == "max"
    with pytest.raises(BadInput, match="it has several"):
        pod.container(None)
    # Nearly all of the node: 1000 - 1000 x 15.99 / 16 = 1, but never below 3.
    huge = pod_of(container("app", {"memory": f"{16 * GIB - 10 * MIB}"}))
    assert values(huge)["oom_score_adj"] == "3"


def test_init_containers_and_sidecars() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    plain = container("setup", {"memory": "2Gi"})
    pod = pod_of(container("app", both, both), initContainers=[plain])
    # Init containers count for the class.
    assert qos_of(pod) is Qos.BURSTABLE
    assert values(pod, "app")["oom_score_adj"] == "938"
    # 1000 - 1000 x 2 / 16 = 875
    assert values(pod, "setup")["oom_score_adj"] == "875"
    assert pod.container(None).name == "app"
    # A sidecar is not killed before the smallest of those that it serves:
    # alone 1000 - 1000 x 16 MiB / 16 GiB = 1000 - 0 (0.98) -> 999, but app has 938.
    sidecar = container("proxy", {"memory": "16Mi"}, restartPolicy="Always")
    pod = pod_of(container("app", both, both), initContainers=[sidecar])
    assert values(pod, "proxy")["oom_score_adj"] == "938"


def test_resources_of_the_pod() -> None:
    whole = {"requests": {"memory": "4Gi", "cpu": "1"}, "limits": {"memory": "8Gi", "cpu": "1"}}
    pod = pod_of(container("a", {"memory": "1Gi"}), container("b"), resources=whole)
    assert qos_of(pod) is Qos.BURSTABLE
    # 3 GiB are nobody's: 1.5 GiB each. a: 1000 - 1000 x 2.5 / 16 = 1000 - 156 (156.25)
    assert values(pod, "a")["oom_score_adj"] == "844"
    # b: 1000 - 1000 x 1.5 / 16 = 1000 - 93 (93.75)
    assert values(pod, "b")["oom_score_adj"] == "907"
    assert values(pod, "b")["memory.max"] == str(8 * GIB)


def test_a_node_critical_pod() -> None:
    pod = pod_of(container("app", {"memory": "512Mi"}), priorityClassName="system-node-critical")
    assert values(pod)["oom_score_adj"] == "-997"
    assert values(pod, kubelet=NODE._replace(limited_swap=True))["memory.swap.max"] == "0"


def test_releases_differ() -> None:
    pod = pod_of(container("app", {"memory": "512Mi"}, {"memory": "1Gi"}))

    def at(major: int, minor: int, **more: Any) -> dict[str, str]:
        return values(pod, kubelet=NODE._replace(version=(major, minor), **more))

    assert at(1, 27)["memory.oom.group"] == "0" and at(1, 28)["memory.oom.group"] == "1"
    one = {"single_process_oom_kill": True}
    assert at(1, 31, **one)["memory.oom.group"] == "1"
    assert at(1, 32, **one)["memory.oom.group"] == "0"
    qos = {"memory_qos": True}
    # 0.8 x 1 GiB in whole pages; then 512 MiB + 0.9 x 512 MiB
    assert at(1, 26, **qos)["memory.high"] == str(858993459 // 4096 * 4096)
    assert at(1, 27, **qos)["memory.high"] == str(1020054732 // 4096 * 4096)
    assert at(1, 35, **qos)["memory.min"] == str(512 * MIB)
    # Tiered: a Burstable pod has memory.low.
    assert "memory.min" not in at(1, 36, **qos) and at(1, 36, **qos)["memory.low"] == str(512 * MIB)
    # Since 1.37 there is no factor unless somebody sets one.
    assert "memory.high" not in at(1, 37, **qos)
    assert at(1, 37, throttling_factor=Fraction(1, 2), **qos)["memory.high"] == str(768 * MIB)
    assert "memory.low" not in at(1, 37)
    with pytest.raises(BadInput, match=r"1\.99"):
        at(1, 99)


def test_memory_qos_is_not_for_guaranteed_high() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    found = values(pod_of(container("a", both, both)), kubelet=NODE._replace(memory_qos=True))
    assert found["memory.min"] == str(GIB) and "memory.high" not in found


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
def test_where_the_pod_is(kind: str) -> None:
    template = {"spec": {"containers": [container("a", {"memory": "1Gi"})]}}
    [pod] = find_pods([{"kind": kind, "metadata": {"name": "web"}, "spec": {"template": template}}])
    assert pod.name == "web" and pod.containers[0].resources.memory_request == GIB
    job = {"jobTemplate": {"spec": {"template": template}}}
    several = {"kind": "List", "items": [{"kind": "CronJob", "spec": job}, {"kind": "Service"}]}
    assert len(list(find_pods([None, several]))) == 1


def test_milli_bytes_are_warned_of() -> None:
    pod = pod_of(container("a", {"memory": "512m"}))
    assert "milli-bytes" in pod.warnings[0]
    assert pod.containers[0].resources.memory_request == 1


@pytest.mark.parametrize(
    "document",
    [
        "text",
        [],
        {"kind": "Pod"},
        {"kind": "Pod", "spec": {"containers": "x"}},
        {"kind": "Pod", "spec": {"containers": []}},
        {"kind": "Pod", "spec": {"containers": ["x"]}},
        {"kind": "Deployment", "spec": []},
        {"kind": "Pod", "spec": {"containers": [container("a", {"memory": "1MB"})]}},
        {"kind": "Pod", "spec": {"containers": [container("a", {"memory": [1]})]}},
        {"kind": "Pod", "spec": {"containers": [container("a", {"memory": True})]}},
    ],
)
def test_what_is_no_manifest(document: Any) -> None:
    with pytest.raises(BadInput):
        list(find_pods([document]))


def test_as_limits_of_a_group() -> None:
    pod = pod_of(container("app", {"memory": "512Mi"}, {"memory": "1Gi"}))
    limits = limits_of(settings(pod, pod.container(None), NODE))
    assert (limits.max_bytes, limits.swap_max_bytes) == (GIB, 0)
    assert limits.oom_group is True and limits.oom_score_adj == 969
    assert limits_of(settings(pod_of(container("a")), container_of("a"), NODE)).max_bytes is None


def container_of(name: str) -> Any:
    return pod_of(container(name)).container(name)


def test_best_effort_gets_memory_high_since_1_37_only_with_a_factor() -> None:
    pod = pod_of(container("app"))
    half = NODE._replace(memory_qos=True, throttling_factor=Fraction(1, 2))
    # Until 1.36 its request and its limit, both 0, are taken for equal.
    assert "memory.high" not in values(pod, kubelet=half._replace(version=(1, 36)))
    # Half of the node's 16 GiB.
    assert values(pod, kubelet=half)["memory.high"] == str(8 * GIB)
    assert "memory.high" not in values(pod, kubelet=NODE._replace(memory_qos=True))


def test_memory_high_without_a_limit_is_of_the_nodes_memory() -> None:
    pod = pod_of(container("app", {"memory": "1Gi"}))
    qos = NODE._replace(memory_qos=True, version=(1, 36))
    # 1 GiB + 0.9 x (16 GiB - 1 GiB), 15569256448 bytes and a fraction in whole pages.
    assert values(pod, kubelet=qos)["memory.high"] == str(15569256448 // 4096 * 4096)


def test_memory_high_equal_to_the_request_is_not_written() -> None:
    qos = NODE._replace(memory_qos=True, version=(1, 36))
    # One page of limit above the request: 0.9 of it is no whole page.
    pod = pod_of(container("app", {"memory": 4096}, {"memory": 8192}))
    assert "memory.high" not in values(pod, kubelet=qos)
    pod = pod_of(container("app", {"memory": 4096}, {"memory": 16384}))
    assert values(pod, kubelet=qos)["memory.high"] == str(3 * 4096)


def test_containers_that_request_more_than_their_pod_get_nothing_beside() -> None:
    whole = {"requests": {"memory": "1Gi"}, "limits": {"memory": "8Gi"}}
    pod = pod_of(container("a", {"memory": "2Gi"}), container("b"), resources=whole)
    # a: 1000 - 1000 x 2 / 16 = 875, and not that of 1.5 GiB; b: 1000 - 0, and so 999.
    assert values(pod, "a")["oom_score_adj"] == "875"
    assert values(pod, "b")["oom_score_adj"] == "999"


def test_own_limit_goes_before_the_pods() -> None:
    whole = {"limits": {"memory": "8Gi"}}
    pod = pod_of(container("a", limits={"memory": "1Gi"}), container("b"), resources=whole)
    assert values(pod, "a")["memory.max"] == str(GIB)
    assert values(pod, "b")["memory.max"] == str(8 * GIB)


def test_limited_swap_is_for_burstable_with_a_request_below_its_limit_since_1_28() -> None:
    swapping = NODE._replace(limited_swap=True)
    burstable = pod_of(container("app", {"memory": "512Mi"}, {"memory": "1Gi"}))
    for version, swap in (((1, 27), "0"), ((1, 28), str(128 * MIB))):
        found = values(burstable, kubelet=swapping._replace(version=version))
        assert found["memory.swap.max"] == swap
    # Without a limit, the request is no limit; without a request there is no share.
    unlimited = pod_of(container("app", {"memory": "512Mi"}))
    assert values(unlimited, kubelet=swapping)["memory.swap.max"] == str(128 * MIB)
    assert values(pod_of(container("a")), kubelet=swapping)["memory.swap.max"] == "0"
    # A pod that is Guaranteed as a whole, with a container that asks for less than its limit.
    both = {"cpu": "1", "memory": "2Gi"}
    whole = {"requests": both, "limits": both}
    app = container("app", {"cpu": "1", "memory": "512Mi"}, {"cpu": "1", "memory": "1Gi"})
    guaranteed = pod_of(app, resources=whole)
    assert qos_of(guaranteed) is Qos.GUARANTEED
    assert values(guaranteed, kubelet=swapping)["memory.swap.max"] == "0"


def test_releases_are_known_from_1_22_to_1_37() -> None:
    pod = pod_of(container("a"))
    for version in ((1, 22), (1, 37)):
        assert values(pod, kubelet=NODE._replace(version=version))
    for version in ((1, 21), (1, 38)):
        with pytest.raises(BadInput, match=r"give one from|not known"):
            values(pod, kubelet=NODE._replace(version=version))


def test_restart_policy_makes_a_sidecar_of_init_containers_only() -> None:
    app = container("app", {"memory": "16Mi"}, restartPolicy="Always")
    assert not pod_of(app).container("app").restartable
    sidecar = container("proxy", {"memory": "2Gi"}, restartPolicy="Always")
    pod = pod_of(container("app", {"memory": "16Mi"}), initContainers=[sidecar])
    # Its own 1000 - 125 is lower than app's 999.
    assert values(pod, "proxy")["oom_score_adj"] == "875"


def test_list_inside_a_list_holds_pods() -> None:
    spec = {"containers": [container("a")]}
    deployment = {"kind": "Deployment", "spec": {"template": {"spec": spec}}}
    inner = {"kind": "List", "items": [deployment, {"kind": "Pod", "spec": spec}]}
    assert len(list(find_pods([{"kind": "List", "items": [inner]}]))) == 2


def test_group_kill_is_set_as_the_kubelet_sets_it() -> None:
    pod = pod_of(container("a"))
    single = NODE._replace(single_process_oom_kill=True)
    for kubelet, kills_all in ((NODE, True), (single, False)):
        assert limits_of(settings(pod, pod.container(None), kubelet)).oom_group is kills_all

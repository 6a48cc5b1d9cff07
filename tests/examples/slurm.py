"""Slurm on this one machine, by Debian's own packages, for as long as a test takes."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.waiting import until

# Nobody else is asked who one is, and more cores are counted than there are.
_CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmctldPidFile={top}/slurmctld.pid
SlurmdPidFile={top}/slurmd.pid
SlurmdSpoolDir={top}/spool
StateSaveLocation={top}/state
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=5 RealMemory=2560
PartitionName=all Nodes=ALL Default=YES
"""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def cluster(top: Path) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach a cluster of this machine alone."""
    configuration = top / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            top=top,
            host=socket.gethostname().partition(".")[0],
            controller=_free_port(),
            node=_free_port(),
        )
    )
    for name in ("spool", "state"):
        (top / name).mkdir()
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    with contextlib.ExitStack() as stack:
        for name in ("slurmctld", "slurmd"):
            log = stack.enter_context(open(top / f"{name}.out", "wb"))
            daemon = stack.enter_context(
                subprocess.Popen([name, "-D"], env=environment, stdout=log, stderr=log)
            )
            stack.callback(daemon.terminate)
        until("the node is idle", lambda: "idle" in _states(environment), every=0.2)
        yield environment


def _states(environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout

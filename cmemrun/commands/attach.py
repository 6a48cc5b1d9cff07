"""``cmemrun attach``: watch a group that is there already."""

from cmemrun.backends.attached import Attached
from cmemrun.backends.places import find, group_of_container, group_of_process
from cmemrun.commands.console import log_everything
from cmemrun.commands.options.attach import AttachOptions
from cmemrun.commands.publication import open_publication, sampling_of
from cmemrun.errors import BadInput
from cmemrun.kernel.hierarchy import Hierarchy, Mount, detect
from cmemrun.kernel.process import describe
from cmemrun.report.measurements import of_run
from cmemrun.signals import Foreground
from cmemrun.watcher import watch

__all__ = ["attach"]


def attach(options: AttachOptions) -> int:
    """Watch the group of a service, a container or a process.

    It is reported as a run is. Nothing in the group is changed, and counters are what
    they rose by meanwhile. It ends when the group is empty or gone, the process of
    --pid has ended, after --for, or on Ctrl-C. The exit status is 0.

    \b
    Examples:
      cmemrun attach --pid 1234 --for 30s
      cmemrun attach --cgroup /system.slice/nginx.service --json nginx.json
      cmemrun attach --container 3f2a9c01b7de --record pod.jsonl
    """
    if options.debug:
        log_everything()
    hierarchy = detect()
    source = Attached(hierarchy, *_group(hierarchy, options))
    with open_publication(options) as publication:
        with Foreground() as waiter, publication.shown(waiter):
            run = watch(
                source,
                hierarchy,
                sampling_of(options, publication),
                waiter,
                seconds=options.seconds,
                pid=options.pid,
                command=describe(options.pid).command if options.pid is not None else (),
                observers=publication.observers,
            )
        return publication.publish([of_run(run)])


def _group(hierarchy: Hierarchy, options: AttachOptions) -> tuple[Mount, str]:
    given = [one for one in (options.pid, options.cgroup, options.container) if one is not None]
    if len(given) != 1:
        raise BadInput(
            "attach wants one of --pid, --cgroup and --container",
            hint="for example cmemrun attach --pid 1234",
        )
    if options.pid is not None:
        return group_of_process(hierarchy, options.pid)
    if options.cgroup is not None:
        return find(hierarchy, "--cgroup", options.cgroup)
    return group_of_container(hierarchy, options.container or "")

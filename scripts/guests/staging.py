"""What a guest with an image of its own has in /opt: the checkout, its libraries, the command."""

import compileall
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from scripts.guests.catalog import Guest

__all__ = ["ROOT", "stage"]

ROOT = Path(__file__).parents[2]
_CHECKOUT = ("cmemrun", "tests", "examples", "scripts", "README.md", "pyproject.toml")
_PYTHON = {"bookworm": (3, 11), "trixie": (3, 13)}
_AS = {
    "tester": "setpriv --init-groups --reuid=1000 --regid=1000 env -i PATH=/usr/bin:/bin"
    " SHELL=/bin/bash HOME=/home/tester USER=tester XDG_RUNTIME_DIR=/run/user/1000",
    "nobus": "setpriv --init-groups --reuid=1001 --regid=1001 env -i PATH=/usr/bin:/bin"
    " SHELL=/bin/bash HOME=/home/nobus USER=nobus",
    "root": "env -i PATH=/usr/bin:/bin SHELL=/bin/bash HOME=/root USER=root",
}
_SERVICE = "systemd-run --quiet --pipe --wait --collect"
_USER_SERVICE = f"{_AS['tester']} systemd-run --user --quiet --pipe --wait --collect"
_START = {
    "service": f"{_USER_SERVICE} bash /opt/command service",
    "delegated": f"{_USER_SERVICE} -p Delegate=yes bash /opt/command delegated",
    "container": f"{_USER_SERVICE} bash /opt/container container",
    "writable-container": f"{_USER_SERVICE} bash /opt/container writable-container"
    " --security-opt unmask=/sys/fs/cgroup",
    "login": f"{_SERVICE} -p PAMName=login -p User=tester -E HOME=/home/tester"
    " bash /opt/command login",
    "nobus": f"{_AS['nobus']} bash /opt/command nobus",
    "root": f"{_AS['root']} bash /opt/command root",
    "root-delegated": f"{_AS['root']} {_SERVICE} -p Delegate=yes bash /opt/command root-delegated",
}
# A container needs no image: a skeleton with the guest's own /usr in it.
_CONTAINER = """\
place=$1; shift
skeleton=$HOME/skeleton
mkdir -p "$skeleton"/{usr,etc,opt,proc,sys,dev,run,tmp,root,var/tmp}
for name in bin sbin lib lib64; do ln -sfn usr/$name "$skeleton/$name"; done
cp /etc/{passwd,group,ld.so.cache} "$skeleton/etc/"
exec podman --storage-driver=vfs run --rm --quiet --network=none --cgroupns=private --memory=256m \\
  "$@" --rootfs -v /usr:/usr:ro -v /opt:/opt:ro "$skeleton" bash /opt/command "$place"
"""
# systemd has done all of this on its own machines.
_EMULATED = """\
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; ip link set lo up 2> /dev/null
ln -sfn /proc/self/fd /dev/fd; ln -sfn /var/tmp /mnt/tmp
exec < /dev/null > /dev/ttyS1 2>&1; stty -F /dev/ttyS1 raw
env -i HOME=/root USER=root bash /opt/command ""
echo "guest-status $?"
sync; echo o > /proc/sysrq-trigger; sleep 60
"""


def stage(guest: Guest, command: tuple[str, ...], variables: Mapping[str, str], to: Path) -> None:
    """Put it together in a new directory, readable for all.

    The last line of the output is ``guest-status N``, the command's status; before it, what
    the command left in ``$CMEMRUN_TEST_REPORT``, if anything, as ``guest-report PLACE BASE64``.
    """
    (to / "cmemrun").mkdir(parents=True)
    for name in _CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / "cmemrun" / name, symlinks=True)
        else:
            shutil.copy(source, to / "cmemrun")
    compileall.compile_dir(to / "cmemrun", quiet=2)
    libraries = Path(sysconfig.get_path("purelib"))
    unwanted = set((ROOT / "scripts/guests/left-out").read_text().split())
    shutil.copytree(
        libraries,
        to / "site-packages",
        symlinks=True,
        ignore=lambda directory, names: [
            name
            for name in names
            if Path(directory) == libraries and any(Path(name).match(each) for each in unwanted)
        ],
    )
    (to / "bin").mkdir()
    (to / "bin/cmemrun").write_text('#!/bin/sh\nexec python3 -m cmemrun "$@"\n')
    settings = {
        "PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
        "PYTHONPATH": "/opt/cmemrun:/opt/site-packages",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "CMEMRUN_TEST_GUEST": guest.name,
        **variables,
    }
    if sys.version_info[:2] != _PYTHON[guest.suite]:  # what is compiled here is of no use there
        settings["PYTHONPYCACHEPREFIX"] = "/tmp/pyc"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    version = "" if guest.layout == "unified" else "-v1"
    (to / "command").write_text(f"""\
{exports}
{f'export CMEMRUN_TEST_PLACE="$1{version}"' if guest.places else ""}
export CMEMRUN_TEST_REPORT=/tmp/guest-report."$1"
cd /opt/cmemrun
{shlex.join(command)}
status=$?
[ ! -s "$CMEMRUN_TEST_REPORT" ] || echo "guest-report $1 $(base64 -w 0 "$CMEMRUN_TEST_REPORT")"
exit $status
""")
    (to / "container").write_text(_CONTAINER)
    (to / "start").write_text(_in_places(guest) if guest.places else _EMULATED)
    (to / "output").touch()
    for directory, _, names in os.walk(to):
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            if not os.path.islink(path):
                mode = os.stat(path).st_mode
                os.chmod(path, mode | 0o444 | (0o111 if mode & 0o100 else 0))
    (to / "bin/cmemrun").chmod(0o755)


def _in_places(guest: Guest) -> str:
    lines = [
        "for i in $(seq 100); do [ -S /run/user/1000/bus ] && break; sleep 0.1; done",
        # Its own file, and not the unit's streams, which would be the journal.
        "exec < /dev/null > /opt/output 2>&1",
        "status=0",
    ]
    for place in guest.places:
        lines += [f"echo '== {place}'"] if len(guest.places) > 1 else []
        lines += [f"{_START[place]} || status=$?"]
    return "\n".join((*lines, 'echo "guest-status $status"', "sync", ""))

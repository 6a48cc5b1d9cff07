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
    "service": f"{_USER_SERVICE} bash /opt/command",
    "delegated": f"{_USER_SERVICE} -p Delegate=yes bash /opt/command",
    "container": f"{_USER_SERVICE} bash /opt/container",
    "writable-container": f"{_USER_SERVICE} bash /opt/container"
    " --security-opt unmask=/sys/fs/cgroup",
    "login": f"{_SERVICE} -p PAMName=login -p User=tester -E HOME=/home/tester bash /opt/command",
    "nobus": f"{_AS['nobus']} bash /opt/command",
    "root": f"{_AS['root']} bash /opt/command",
    "root-delegated": f"{_AS['root']} {_SERVICE} -p Delegate=yes bash /opt/command",
}
# A container needs no image: a skeleton with the guest's own /usr in it.
_CONTAINER = """\
skeleton=$HOME/skeleton
mkdir -p "$skeleton"/{usr,etc,opt,proc,sys,dev,run,tmp,root,var/tmp}
for name in bin sbin lib lib64; do ln -sfn usr/$name "$skeleton/$name"; done
cp /etc/{passwd,group,ld.so.cache} "$skeleton/etc/"
exec podman --storage-driver=vfs run --rm --quiet --network=none --cgroupns=private --memory=512m \\
  "$@" --rootfs -v /usr:/usr:ro -v /opt:/opt:ro "$skeleton" bash /opt/command
"""
# systemd has done all of this on its own machines.
_EMULATED = """\
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; ip link set lo up 2> /dev/null
ln -sfn /proc/self/fd /dev/fd; ln -sfn /var/tmp /mnt/tmp
exec < /dev/null > /dev/ttyS1 2>&1; stty -F /dev/ttyS1 raw
"""


def stage(guest: Guest, command: tuple[str, ...], variables: Mapping[str, str], to: Path) -> None:
    """Put it together in a new directory, readable for all.

    The command's status is the last line of its output, ``guest-status N``, after what it left
    in ``/tmp/guest-report``, if anything, as the line ``guest-report BASE64``.
    """
    os.umask(0o022)
    (to / "cmemrun").mkdir(parents=True)
    for name in _CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / "cmemrun" / name, symlinks=True)
        else:
            shutil.copy(source, to / "cmemrun")
    (to / "cmemrun").chmod(0o755)
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
        "CMEMRUN_TEST_REPORT": "/tmp/guest-report",
        **guest.environment,
        **variables,
    }
    if sys.version_info[:2] != _PYTHON[guest.suite]:  # what is compiled here is of no use there
        settings["PYTHONPYCACHEPREFIX"] = "/tmp/pyc"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    (to / "command").write_text(
        f"{exports}cd /opt/cmemrun\n{shlex.join(command)}\nstatus=$?\n"
        '[ ! -s /tmp/guest-report ] || echo "guest-report $(base64 -w 0 /tmp/guest-report)"\n'
        "exit $status\n"
    )
    (to / "container").write_text(_CONTAINER)
    if guest.place:
        # Its own file, and not the unit's pipe, as a journal would take it.
        begin = "for i in $(seq 100); do [ -S /run/user/1000/bus ] && break; sleep 0.1; done\n"
        begin += "exec < /dev/null > /opt/output 2>&1\n"
        start = _START[guest.place]
        end = "sync"
    else:
        begin, start = _EMULATED, f"{_AS['root']} bash /opt/command"
        end = "sync; echo o > /proc/sysrq-trigger; sleep 60"
    (to / "start").write_text(f'{begin}{start}\necho "guest-status $?"\n{end}\n')
    (to / "output").touch()
    for directory, _, names in os.walk(to):
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            if not os.path.islink(path):
                mode = os.stat(path).st_mode
                os.chmod(path, mode | 0o444 | (0o111 if mode & 0o100 else 0))
    (to / "bin/cmemrun").chmod(0o755)

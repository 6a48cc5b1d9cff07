"""Start a guest, pass on what it prints, and bring back how its command ended."""

import base64
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.guests import debian, images, kernels
from scripts.guests.catalog import Guest
from scripts.guests.staging import ROOT, stage

__all__ = ["Ended", "run"]

_MEMORY_MIB = 2048
# All its messages are kept: a kill's lines are many, and tests read them later.
_ALWAYS = ("quiet", "log_buf_len=4M")
# User-Mode Linux from 6.8 on, where a process is killed while its memory is copied for a fork:
# flush_tlb_mm walks over what exit_mmap passes over (XA_ZERO_ENTRY, kernel/fork.c).
_KNOWN_PANIC = re.compile(rb"Kernel panic.*flush_tlb_mm.*copy_process", re.DOTALL)
_ATTEMPTS = 3
# The last lines of what it prints; what is before them may not end its own line.
_STATUS = re.compile(rb"guest-status (\d+)\r?\n")
_REPORT = re.compile(rb"guest-report (\S*) (\S+)\r?\n")


@dataclass(frozen=True)
class Ended:
    """How a guest's command ended: its status, or ``None`` with the reason why there is none."""

    status: int | None
    reason: str = ""
    reports: dict[str, bytes] = field(default_factory=dict)
    """What the command left in ``$CMEMRUN_TEST_REPORT``, by place (or an empty word)."""


def run(
    guest: Guest,
    command: tuple[str, ...],
    *,
    variables: Mapping[str, str],
    disk_mib: int = 500,
    seconds: float = 600,
) -> Ended:
    """Run a command in a guest, as root or as who its place is about; its output is ours."""
    for _ in range(_ATTEMPTS):
        ended, console = _run_once(guest, command, variables, disk_mib, seconds)
        if not _KNOWN_PANIC.search(console):
            break
        print(f"guest {guest.name}: its kernel panicked of itself: {ended.reason}")
    return ended


def _run_once(
    guest: Guest,
    command: tuple[str, ...],
    variables: Mapping[str, str],
    disk_mib: int,
    seconds: float,
) -> tuple[Ended, bytes]:
    """How it ended, and what the kernel printed."""
    with tempfile.TemporaryDirectory(dir=_runs(), prefix=f"{guest.name}.") as held:
        directory = Path(held)
        directory.chmod(0o755)
        if guest.is_emulated:
            machine, output = _emulated(guest, command, variables, directory)
        elif guest.places:
            machine, output = _with_systemd(guest, command, variables, directory)
        else:
            machine, output = _user_mode(guest, command, variables, directory, disk_mib)
        console = directory / "console"
        how = _follow(machine, output, console, seconds)
        text = output.read_bytes()
        said = _STATUS.findall(text)
        if said and not how:
            written = {name.decode(): base64.b64decode(it) for name, it in _REPORT.findall(text)}
            return Ended(int(said[-1]), reports=written), b""
        printed = console.read_bytes()
        tail = printed.decode(errors="replace").splitlines()[-20:]
        ended = Ended(None, "\n".join((how or "the guest ended without a result", *tail)))
        return ended, printed


def _runs() -> Path:
    path = debian.DATA / "runs"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _follow(machine: list[str], output: Path, console: Path, seconds: float) -> str:
    """Wait until the machine has ended; pass on what its command prints; say what went wrong."""
    deadline, rest = time.monotonic() + seconds, b""
    with (
        console.open("ab") as said,
        output.open("rb") as printed,
        subprocess.Popen(
            machine,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            while True:
                ended = _has_ended(process)
                rest = _pass_on(rest + printed.read())
                if ended:
                    return ""
                if time.monotonic() > deadline:
                    return f"the guest was ended after {seconds:.0f} s"
        finally:
            _kill(process)
            _pass_on(rest + b"\n" if rest else b"")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    # A user-mode kernel is many processes, of one group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pass_on(printed: bytes) -> bytes:
    """Print its whole lines, without those that are for us; return what is after the last."""
    lines, end, rest = printed.rpartition(b"\n")
    sys.stdout.buffer.write(_REPORT.sub(b"", _STATUS.sub(b"", lines + end)))
    sys.stdout.flush()
    return rest


def _kernel(guest: Guest, directory: Path, *arguments: str) -> list[str]:
    return [
        str(kernels.user_mode(guest.kernel)),
        *(f"mem={_MEMORY_MIB}M", "con=null", "con0=null,fd:1", *_ALWAYS, *arguments),
        *(f"uml_dir={directory}", "umid=guest", *guest.kernel_arguments),
    ]


def _user_mode(
    guest: Guest,
    command: tuple[str, ...],
    variables: Mapping[str, str],
    directory: Path,
    disk_mib: int,
) -> tuple[list[str], Path]:
    """This machine's files, read-only, under another kernel."""
    output, init = directory / "output", directory / "init"
    output.touch()
    disk = directory / "disk"
    debian.make_disk(disk, disk_mib)
    init.write_text(_init(guest, command, variables, directory))
    init.chmod(0o755)
    root = ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"ubd0={disk}")
    return _kernel(guest, directory, *root, f"init={init}"), output


def _init(
    guest: Guest, command: tuple[str, ...], variables: Mapping[str, str], directory: Path
) -> str:
    settings = {
        "HOME": "/root",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CMEMRUN_TEST_DISK": "/mnt",
        "CMEMRUN_TEST_REPORT": "/tmp/guest-report",
        "CMEMRUN_TEST_GUEST": guest.name,
        **variables,
    }
    cgroups = {
        "unified": "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        "legacy": "mount -t tmpfs cgroup /sys/fs/cgroup\n"
        "for name in memory pids freezer cpuacct; do mkdir /sys/fs/cgroup/$name; "
        "mount -t cgroup -o $name $name /sys/fs/cgroup/$name; done",
    }
    cgroups["hybrid"] = (
        f"{cgroups['legacy']}\nmkdir /sys/fs/cgroup/unified; "
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
    )
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    # What lies below the directories that are fresh there is brought back from the host.
    own = shlex.join(
        str(path) for path in (ROOT, debian.DATA, Path(sys.base_prefix)) if _is_hidden(path)
    )
    at = shlex.quote(str(directory))
    return f"""\
#!/bin/bash
{exports}
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2> /dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run; mkdir /run/host; mount -t hostfs none /run/host -o /
for at in /tmp /var/tmp; do mount -t tmpfs tmp $at; done
for at in {own}; do mkdir -p "$at"; mount --bind "/run/host$at" "$at"; done
mount -t hostfs none {at} -o {at} 2> /dev/null || mount -t hostfs none {at} -o hostfs={at}
umount /run/host
{cgroups[guest.layout]}
[ -b /dev/ubda ] || mknod /dev/ubda b 98 0
mount -t ext4 /dev/ubda /mnt
ip link set lo up 2> /dev/null
cd {shlex.quote(str(ROOT))}
{{ {shlex.join(command)}
status=$?
[ ! -s /tmp/guest-report ] || echo "guest-report  $(base64 -w 0 /tmp/guest-report)"
echo "guest-status $status"; }} > {at}/output 2>&1 < /dev/null
sync
echo o > /proc/sysrq-trigger; exec sleep 60
"""


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(fresh) for fresh in ("/tmp", "/var/tmp", "/run"))


def _with_systemd(
    guest: Guest, command: tuple[str, ...], variables: Mapping[str, str], directory: Path
) -> tuple[list[str], Path]:
    """Debian as it is installed, booted by its systemd, on a copy of its image."""
    shared = directory / "shared"
    stage(guest, command, variables, shared)
    disk = f"ubd0={directory / 'changes'},{images.image(guest.suite)}"
    machine = _kernel(
        guest,
        directory,
        *(disk, "root=/dev/ubda", "rw", "ssl=null", "systemd.show_status=0"),
        f"guest_directory={shared}",
    )
    return machine, shared / "output"


def _emulated(
    guest: Guest, command: tuple[str, ...], variables: Mapping[str, str], directory: Path
) -> tuple[list[str], Path]:
    """Two processors, huge pages and PSI, which a user-mode kernel does not have."""
    shared, output, disk = (directory / name for name in ("shared", "output", "disk"))
    stage(guest, command, variables, shared)
    output.touch()
    debian.make_disk(disk, 1024, content=shared)
    kernel, initrd = kernels.emulated()
    image = images.image(guest.suite)
    # Others may have the image at the same time: nobody writes to it.
    drive = "if=virtio,format=raw,snapshot=on,file.locking=off"
    machine = [
        # One host thread for all virtual CPUs: two would spin against each other as soon as
        # the machine has something else to do. A plain CPU loads few modules.
        *("qemu-system-x86_64", "-M", "q35", "-cpu", "Nehalem", "-accel", "tcg,thread=single"),
        *("-m", str(_MEMORY_MIB), "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-nic", "none", "-serial", "stdio", "-serial", f"file:{output}"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng", "-kernel", str(kernel), "-initrd", str(initrd)),
        *("-drive", f"file={image},{drive}", "-drive", f"file={disk},{drive}"),
        "-append",
        shlex.join(("console=ttyS0", "panic=-1", "mitigations=off", "no5lvl", *_ALWAYS)),
    ]
    return machine, output

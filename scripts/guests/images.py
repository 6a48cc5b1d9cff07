"""Disk images of Debian, as it is installed; systemd boots them, or a script."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.guests import debian

__all__ = ["image", "missing", "tasks"]

_SUITES = ("bookworm", "trixie")
# Beside Debian as it is, others who measure: the last cAdvisor in Debian is in bullseye.
_PACKAGES = (
    "systemd-sysv,udev,dbus,dbus-user-session,libpam-systemd,sudo,procps,python3,podman,crun,"
    "uidmap,runc,cadvisor,time,strace"
)
_UNIT = """\
[Unit]
Wants=user@1000.service dbus.socket
After=user@1000.service systemd-user-sessions.service systemd-logind.service multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /usr/local/sbin/start-guest
ExecStopPost=/usr/bin/systemctl poweroff --force --force
TimeoutStartSec=infinity
"""
# The kernel's command line says where the directory is that a guest shares with its host.
# Since Linux 6.10 a new mount(8) must name the option.
_START = """\
at=$(sed 's/.*guest_directory=//; s/ .*//' /proc/cmdline)
mount -t hostfs none /opt -o "$at" 2> /dev/null || mount -t hostfs none /opt -o "hostfs=$at"
exec bash /opt/start
"""
_TARGET = """\
[Unit]
Requires=basic.target multi-user.target
Wants=guest.service
AllowIsolate=yes
"""
_UNWANTED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "e2scrub_reap.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "getty.target",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-random-seed.service",
    "podman.service",
    "podman.socket",
    "podman-auto-update.service",
    "podman-auto-update.timer",
    "podman-restart.service",
    "cadvisor.service",
    "systemd-update-utmp.service",
    "systemd-hwdb-update.service",
    "ldconfig.service",
    "systemd-pstore.service",
    "systemd-journal-catalog-update.service",
    "man-db.timer",
)


def image(suite: str) -> Path:
    """The image of a suite."""
    return debian.DATA / f"{suite}.ext4"


def missing() -> list[str]:
    """The images that are not there as they are described here."""
    return [str(image(suite)) for suite in _SUITES if not _is_built(suite)]


def tasks() -> list[Callable[[], None]]:
    """What builds the images that are missing, each for itself."""
    return [partial(_build, suite) for suite in _SUITES if not _is_built(suite)]


def _description(suite: str) -> str:
    return "\n".join((suite, _PACKAGES, _UNIT, _START, _TARGET, *_UNWANTED))


def _is_built(suite: str) -> bool:
    described = image(suite).with_suffix(".described")
    return (
        image(suite).exists()
        and described.exists()
        and described.read_text() == _description(suite)
    )


def _build(suite: str) -> None:
    with tempfile.TemporaryDirectory(dir=debian.DATA, prefix="image.") as held:
        top = Path(held)
        top.chmod(0o755)
        debian.run(
            *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--skip=check/qemu"),
            '--aptopt=Acquire::Check-Valid-Until "false"',
            '--aptopt=APT::Install-Recommends "false"',
            *("--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*"),
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            *(f'--aptopt=APT::Default-Release "{suite}"', f"--include={_PACKAGES}", suite, top),
            *(f"deb [trusted=yes] {debian.mirror()} {each} main" for each in (suite, "bullseye")),
        )
        _furnish(top)
        new = image(suite).with_suffix(".new")
        debian.make_disk(new, 2048, content=top, without="^has_journal,^metadata_csum")
        # Whoever writes to a copy of it on top of this file relies on its time.
        new.rename(image(suite))
    image(suite).with_suffix(".described").write_text(_description(suite))


def _furnish(top: Path) -> None:
    """Users with the rights that the places are about, and one unit that systemd starts."""

    def inside(*command: str) -> None:
        debian.run("chroot", top, *command)

    inside("useradd", "-m", "-u", "1000", "-G", "games", "-s", "/bin/bash", "tester")
    inside("useradd", "-m", "-u", "1001", "-s", "/bin/bash", "nobus")
    for name in ("subuid", "subgid"):
        path = top / "etc" / name
        if "tester:" not in path.read_text():
            path.write_text("tester:100000:65536\n")
    sudoers = "".join(f"{user} ALL=(ALL) NOPASSWD: ALL\n" for user in ("tester", "nobus"))
    (top / "etc/sudoers.d/guest").write_text(sudoers)
    linger = top / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / "tester").touch()
    (top / "etc/fstab").write_text("")
    # Without a number every boot is the first.
    (top / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (top / "etc/systemd/system/guest.service").write_text(_UNIT)
    (top / "usr/local/sbin/start-guest").write_text(_START)
    (top / "etc/systemd/system/guest.target").write_text(_TARGET)
    inside("systemctl", "-q", "set-default", "guest.target")
    inside("systemctl", "-q", "mask", *_UNWANTED)
    for waste in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(top / waste)
        (top / waste).mkdir()

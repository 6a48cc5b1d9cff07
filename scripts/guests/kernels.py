"""The kernels: User-Mode Linux of three Debian suites, and one that is emulated."""

import shutil
from pathlib import Path

from scripts.guests import debian

__all__ = ["emulated", "missing", "setup", "user_mode"]

_SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
# As little as finds the disks: Debian's kernels have neither virtio nor ext4 built in.
_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module 2> /dev/null; done
tries=0; while [ ! -b /dev/vdb ] && [ $tries -lt 50 ]; do $b sleep 0.1; tries=$((tries + 1)); done
$b mount -t ext4 -o rw,noatime /dev/vda /new
$b mount -t ext4 -o ro /dev/vdb /new/opt
for at in proc sys; do $b umount /$at; done
$b mount --move /dev /new/dev
exec $b switch_root /new /bin/bash /opt/start
"""


def user_mode(version: str) -> Path:
    """The kernel that is an ordinary program."""
    return debian.DATA / "uml" / version / "linux"


def emulated() -> tuple[Path, Path]:
    """The kernel that an emulated machine boots, and its initial file system."""
    return debian.DATA / "emulated" / "vmlinuz", debian.DATA / "emulated" / "initrd"


def missing() -> list[str]:
    """What of them is not there."""
    wanted = [*(user_mode(version) for version in _SUITES), *emulated()]
    return [str(path) for path in wanted if not path.exists()]


def setup() -> None:
    """Download what is missing."""
    for version, suite in _SUITES.items():
        if not user_mode(version).exists():
            _get_user_mode(suite, user_mode(version).parent)
    if not all(path.exists() for path in emulated()):
        _get_emulated(emulated()[0].parent)


def _get_user_mode(suite: str, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    # Trixie's wants a newer libc than the machine may have, so its own lies beside it.
    packages = ("user-mode-linux", "libc6") if suite == "trixie" else ("user-mode-linux",)
    debian.unpack(suite, packages, directory)
    kernel = directory / "usr/bin/linux.uml"
    if suite == "trixie":
        library = directory / "usr/lib/x86_64-linux-gnu"
        debian.run(
            *("patchelf", "--set-interpreter", library / "ld-linux-x86-64.so.2"),
            *("--set-rpath", library, kernel),
        )
    kernel.rename(directory / "linux")


def _get_emulated(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    unpacked = directory / "unpacked"
    debian.unpack("trixie", (r"^linux-image-6\.12\..*-amd64$",), unpacked)
    if not (unpacked / "lib").exists():  # modules are under /usr/lib since trixie
        (unpacked / "lib").symlink_to("usr/lib")
    release = next((unpacked / "lib/modules").iterdir()).name
    debian.run("depmod", "-b", unpacked, release)
    top = directory / "initrd.root"
    for name in ("bin", "modules", "proc", "sys", "dev", "new"):
        (top / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, top / "bin/busybox")
    for number, module in enumerate(_modules(unpacked, release)):
        copy = top / "modules" / f"{number:03d}-{module.name}"
        shutil.copy(module, copy)
        if module.suffix == ".xz":
            debian.run("xz", "--decompress", copy)
    (top / "init").write_text(_INIT)
    (top / "init").chmod(0o755)
    initrd = directory / "initrd"
    debian.run("sh", "-c", 'find . | busybox cpio -o -H newc 2> /dev/null > "$0"', initrd, cwd=top)
    next((unpacked / "boot").glob("vmlinuz-*")).rename(directory / "vmlinuz")
    shutil.rmtree(unpacked)
    shutil.rmtree(top)


def _modules(unpacked: Path, release: str) -> list[Path]:
    """The files of the modules and of those they need, in the order to load them."""
    found: dict[Path, None] = {}
    for module in _MODULES:
        shown = debian.run("modprobe", "-d", unpacked, "-S", release, "--show-depends", module)
        for line in shown.splitlines():
            if line.startswith("insmod "):
                found[Path(line.split()[1])] = None
    return list(found)

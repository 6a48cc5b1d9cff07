"""Packages of any Debian suite, unpacked and not installed; and what is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["DATA", "install", "make_disk", "mirror", "run", "unpack"]

DATA = Path(
    os.environ.get("CMEMRUN_GUESTS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cmemrun", "guests")
)
"""Where kernels and images are kept."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run it, and return what it printed; its errors end the setup."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def make_disk(path: Path, mib: int, *, content: Path | None = None, without: str = "") -> None:
    """Make a sparse ext4 image, with the content of a directory, ``without`` some features."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(mib << 20)
    features = ("-O", without) if without else ()
    given = ("-d", content) if content else ()
    run("mke2fs", "-q", "-F", "-t", "ext4", *features, *given, path)


def install(commands: dict[str, str]) -> None:
    """Install the packages of the commands that this machine does not have."""
    missing = sorted({package for command, package in commands.items() if not _has(command)})
    if missing:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "-qq", "update")
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing)


def _has(command: str) -> bool:
    return bool(shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))


def mirror() -> str:
    """The mirror that this machine has its packages from."""
    for name in ("sources.list.d/debian.sources", "sources.list"):
        source = Path("/etc/apt", name)
        text = source.read_text() if source.exists() else ""
        if found := re.search(r"^(?:URIs:|deb)\s.*?(https?://\S+)", text, re.MULTILINE):
            return found[1]
    raise SystemExit("guests: no Debian mirror is configured on this machine")


def unpack(suite: str, packages: tuple[str, ...], into: Path) -> None:
    """Download packages of a suite and unpack them; a name may be a regular expression.

    Of the packages that an expression names the one with the highest version is taken.
    """
    lists = DATA / f"lists-{suite}"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    into.mkdir(parents=True, exist_ok=True)
    sources = lists.with_suffix(".list")
    sources.write_text(f"deb [trusted=yes] {mirror()} {suite} main\n")
    options = [
        *("-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache="),
        *("-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root"),
    ]
    run("apt-get", *options, "-qq", "update")
    for package in packages:
        if package.startswith("^"):
            found = run("apt-cache", *options, "search", "--names-only", package)
            names = [line.split()[0] for line in found.splitlines()]
            names = [name for name in names if not re.search(r"cloud|rt-|unsigned|dbg", name)]
            if not names:
                raise SystemExit(f"guests: Debian {suite} has no package {package}")
            name = max(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
        else:
            name = package
        run("apt-get", *options, "-qq", "download", name, cwd=into)
    for archive in into.glob("*.deb"):
        run("dpkg", "-x", archive, into)
        archive.unlink()
    shutil.rmtree(lists)
    sources.unlink()

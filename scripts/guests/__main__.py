"""scripts/guest: run a command, or the tests, on another kernel or with systemd."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from scripts.guests import catalog, debian, images, kernels
from scripts.guests.catalog import GUESTS, PLACES
from scripts.guests.machines import run as run_guest

app = typer.Typer(
    help=(__doc__ or "").partition(": ")[2].capitalize(),
    no_args_is_help=True,
    add_completion=False,
)
_COMMANDS = {
    "mke2fs": "e2fsprogs",
    "patchelf": "patchelf",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "xz": "xz-utils",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
}
_WITH_MORE = {"allow_extra_args": True, "ignore_unknown_options": True}
Name = Annotated[str, typer.Argument(metavar="GUEST")]
Seconds = Annotated[float, typer.Option("-t", help="Time limit in seconds.")]


@app.command("list")
def list_guests() -> None:
    """Print the guests, and what a place is."""
    for guest in GUESTS.values():
        how = "emulated, two CPUs" if guest.is_emulated else "user-mode"
        print(f"{guest.name:14} Linux {guest.kernel}, {how}, cgroups {guest.layout}")
        for place in guest.places:
            print(f"  {guest.name}-{place}: {PLACES[place]}")


@app.command()
def setup() -> None:
    """Install and build what the guests need (root, Debian)."""
    if os.geteuid() != 0:
        raise SystemExit("guests: setup needs root")
    debian.install(_COMMANDS)
    debian.DATA.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as side_by_side:
        for one in [side_by_side.submit(each) for each in (*images.tasks(), kernels.setup)]:
            one.result()


@app.command()
def check() -> None:
    """Exit with 1, and say what is missing, if guests cannot run here."""
    if os.geteuid() != 0:
        raise SystemExit("guests need root")
    if missing := [*kernels.missing(), *images.missing()]:
        raise SystemExit(f"no {missing[0]} (scripts/guest setup)")


@app.command(context_settings=_WITH_MORE)
def run(name: Name, command: list[str], seconds: Seconds = 600, disk_mib: int = 500) -> None:
    """Run a command; its status is the exit status, 255 means the guest gave none."""
    _exit(catalog.find(name), tuple(command), seconds, disk_mib)


@app.command(context_settings=_WITH_MORE)
def test(name: Name, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run the tests that are for this guest; more arguments go to pytest."""
    guest = catalog.find(name)
    python = "python3" if guest.places or guest.is_emulated else ".venv/bin/python"
    quiet = ("-q", "--color=no", "-p", "no:cacheprovider")
    command = (python, "-m", "pytest", *quiet, *guest.tests, *(arguments or ()))
    _exit(guest, command, 1500, 500)


def _exit(guest: catalog.Guest, command: tuple[str, ...], seconds: float, disk_mib: int) -> None:
    variables = {name: os.environ[name] for name in os.environ if name.startswith("CMEMRUN_TEST_")}
    report = variables.pop("CMEMRUN_TEST_REPORT", None)
    ended = run_guest(guest, command, variables=variables, seconds=seconds, disk_mib=disk_mib)
    if report and ended.reports:
        Path(report).write_bytes(b"\n".join(ended.reports.values()))
    if ended.status is None:
        print(f"guest {guest.name}: {ended.reason}", file=sys.stderr)
    raise SystemExit(255 if ended.status is None else ended.status)


if __name__ == "__main__":
    # End the machine, too, as Ctrl-C does: it is in a session of its own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app(prog_name="scripts/guest")

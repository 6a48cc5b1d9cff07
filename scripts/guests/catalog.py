"""The guests: which kernel, which cgroup layout, which tests each of them runs."""

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["GUESTS", "PLACES", "Guest", "find"]

Layout = Literal["unified", "legacy", "hybrid"]

PLACES = {
    "service": "the user tester, in a service of its user manager (Delegate=no)",
    "login": "tester in a login session, as after ssh",
    "nobus": "the user nobus, who has no user manager and so no bus",
    "root": "root in a system service",
    "delegated": "tester in a service with Delegate=yes",
    "root-delegated": "root in a service with Delegate=yes",
    "container": "tester in a rootless podman container of 256 MiB, the cgroup tree read-only",
    "writable-container": "the same with its private cgroup namespace writable",
}
"""Where a command runs on a machine with systemd."""


@dataclass(frozen=True)
class Guest:
    """One kernel with one userland; with ``places`` it is systemd that boots it."""

    name: str
    kernel: str
    layout: Layout = "unified"
    suite: Literal["bookworm", "trixie"] = "bookworm"
    places: tuple[str, ...] = ()
    """Where the tests run, in one place after the other."""
    is_emulated: bool = False
    only_long: bool = False
    """Not worth a part of every CI run: ``scripts/test --long`` has it."""

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        is_hybrid = self.places and self.layout == "hybrid"
        return ("systemd.unified_cgroup_hierarchy=0",) if is_hybrid else ()

    @property
    def tests(self) -> tuple[str, ...]:
        """What of the suite it runs, as arguments of pytest."""
        if self.places:
            # No property is tried there, and hypothesis is compiled for one Python.
            return ("tests/places", "-p", "no:hypothesispytest")
        # Who may write what of a group differs between kernels and hierarchies.
        rights = (
            "tests/hostile/test_rights.py::test_a_users_program_can_do_nothing_to_us_or_its_group"
        )
        everything = ("tests/kernels", rights)
        if self.is_emulated:
            return (*everything, "-m", "emulated or needs")
        if self.name == "6.12":
            return everything
        return (*everything, "-m", "not kernel_independent")


# The usual places on both systemds, the others on one of them.
GUESTS = {
    guest.name: guest
    for guest in (
        Guest("6.12", "6.12"),
        Guest("252", "6.12", places=tuple(PLACES)),
        Guest("6.12-emulated", "6.12", is_emulated=True),
        Guest("6.1", "6.1"),
        Guest("5.10", "5.10"),
        Guest("5.10-legacy", "5.10", "legacy"),
        Guest(
            *("257", "6.12", "unified", "trixie"),
            places=("login", "nobus", "delegated", "writable-container"),
        ),
        Guest("252-hybrid", "6.1", "hybrid", places=("root", "login")),
        # The machine that developers and CI have is hybrid as well, and runs all of these tests.
        Guest("6.1-hybrid", "6.1", "hybrid", only_long=True),
    )
}


def find(name: str) -> Guest:
    """Return a guest, or one place of it (``252-login``); ``SystemExit`` if there is none."""
    if name in GUESTS:
        return GUESTS[name]
    for guest in GUESTS.values():
        place = name.removeprefix(f"{guest.name}-")
        if guest.places and place in PLACES:
            return replace(guest, name=name, places=(place,))
    raise SystemExit(f"no guest {name!r}; there are {', '.join(GUESTS)}")

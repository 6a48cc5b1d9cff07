"""The guests: which kernel, which cgroup layout, which tests each of them runs."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["GUESTS", "PLACES", "Guest", "find"]

Layout = Literal["unified", "legacy", "hybrid"]

PLACES = {
    "service": "the user tester, in a service of its user manager (Delegate=no)",
    "login": "tester in a login session, as after ssh",
    "nobus": "the user nobus, who has no user manager and so no bus",
    "root": "root in a system service",
    "delegated": "tester in a service with Delegate=yes",
    "root-delegated": "root in a service with Delegate=yes",
    "container": "tester in a rootless podman container of 512 MiB, the cgroup tree read-only",
    "writable-container": "the same with its private cgroup namespace writable",
}
"""Where a command runs on a machine with systemd."""


@dataclass(frozen=True)
class Guest:
    """One kernel with one userland; ``place`` is given where systemd boots it."""

    name: str
    kernel: str
    layout: Layout = "unified"
    suite: str = "bookworm"
    place: str | None = None
    is_emulated: bool = False
    only_long: bool = False
    """Not worth a CI run of its own: ``scripts/test --long`` has it."""

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        hybrid = self.place and self.layout == "hybrid"
        return ("systemd.unified_cgroup_hierarchy=0",) if hybrid else ()

    @property
    def tests(self) -> tuple[str, ...]:
        """What of the suite it runs, as arguments of pytest."""
        if self.place:
            return ("tests/places",)
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

    @property
    def environment(self) -> dict[str, str]:
        """What tells the tests where they are."""
        if not self.place:
            return {"CMEMRUN_TEST_GUEST": self.name}
        version = "" if self.layout == "unified" else "-v1"
        return {"CMEMRUN_TEST_GUEST": self.name, "CMEMRUN_TEST_PLACE": self.place + version}


def _places(version: str, *places: str, **more: Any) -> tuple[Guest, ...]:
    return tuple(
        Guest(f"{version}-{place}", place=place, **({"kernel": "6.12"} | more)) for place in places
    )


# The usual place on both systemds, the others on one of them but for ``--long``.
GUESTS = {
    guest.name: guest
    for guest in (
        Guest("6.12", "6.12"),
        Guest("6.12-emulated", "6.12", is_emulated=True),
        Guest("6.1", "6.1"),
        Guest("5.10", "5.10"),
        Guest("5.10-legacy", "5.10", "legacy"),
        # The machine that developers and CI have is hybrid as well, and runs all of these tests.
        Guest("6.1-hybrid", "6.1", "hybrid", only_long=True),
        *_places("252", *PLACES),
        *_places("257", "login", "nobus", "delegated", "writable-container", suite="trixie"),
        *_places("257", "service", "root", suite="trixie", only_long=True),
        *_places("252-hybrid", "root", "login", kernel="6.1", layout="hybrid"),
    )
}


def find(name: str) -> Guest:
    """Return the guest of that name; ``SystemExit`` with the names there are otherwise."""
    if name not in GUESTS:
        raise SystemExit(f"no guest {name!r}; there are {', '.join(GUESTS)}")
    return GUESTS[name]

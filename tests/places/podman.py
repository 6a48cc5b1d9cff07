"""The guests' Podman: Debian 12's 4.3 with crun 1.8.1, Debian 13's 5.4 with crun 1.21."""

import platform

import pytest

# Without the mark: rootless, the first leaves a process behind that holds the user
# namespace for all that follow.
PODMAN = ["env", "-u", "CMEMRUN_TEST_MARK", "podman", "--storage-driver=vfs"]
NEW = platform.freedesktop_os_release()["VERSION_ID"] != "12"

# As root the old one, and rootless the new one.
with_podman = pytest.mark.places("root", *["login"] * NEW)

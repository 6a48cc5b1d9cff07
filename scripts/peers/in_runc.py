"""A program in a container of runc's, watched by ``runc events``: ``in_runc.py FILE PROGRAM …``.

The container is this machine's own files, but for its /sys and /dev, so that what is run is
the same as outside. FILE has what ``runc events`` says of it each second, one line each.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 1


def bundle(directory: str, command: list[str]) -> None:
    """A container that runs the command on the machine's files, which it may not write to."""
    subprocess.run(["runc", "spec", "--bundle", directory], check=True)
    path = Path(directory, "config.json")
    config = json.loads(path.read_text())
    config["process"] |= {"args": command, "terminal": False, "cwd": os.getcwd()}
    config["root"] = {"path": f"{directory}/root"}
    for allowed in config["process"]["capabilities"].values():
        allowed.append("CAP_NET_ADMIN")  # large socket buffers
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            os.makedirs(f"{directory}/root", exist_ok=True)
            os.symlink(f"usr/{name}", f"{directory}/root/{name}")
    for place in ("/usr", "/etc", "/opt", "/var/tmp", "/tmp", os.getcwd()):
        config["mounts"].append(
            {"destination": place, "type": "bind", "source": place, "options": ["rbind", "rw"]}
        )
    for mount in config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":  # for who makes groups inside
            mount["options"].remove("ro")
    path.write_text(json.dumps(config))


def main(file: str, *command: str) -> None:
    name = f"cmemrun-peer-{os.getpid()}"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        bundle(directory, list(command))
        container = subprocess.Popen(["runc", "run", "--bundle", directory, name])
        watch = ["runc", "events", "--interval", f"{SECONDS}s", name]
        try:
            with open(file, "w") as out:
                # Until the container is there it can be asked nothing; with its end it is over.
                while container.poll() is None:
                    subprocess.run(watch, stdout=out, stderr=subprocess.DEVNULL, check=False)
                    time.sleep(0.02)
        finally:
            # What is in it is in a session of its own, and in a group of runc's.
            delete = ["runc", "delete", "--force", name]
            subprocess.run(delete, stderr=subprocess.DEVNULL, check=False)
    sys.exit(container.returncode)


if __name__ == "__main__":
    # As an exception, which cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(*sys.argv[1:])

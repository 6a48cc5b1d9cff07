"""Run tests against a copy of the package that is mounted over the original."""

import asyncio
import compileall
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Checkout", "Trial"]

# Nothing but the command and its children sees this mount.
_MOUNTED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "-")
_MARK = "CMEMRUN_MUTANT"
# A cleanup process removes the cgroups of a run that was killed.
_CLEANUP_SECONDS = 10.0


@dataclass(frozen=True)
class Trial:
    """What one run of some tests has shown."""

    red: str | None
    """The first test that failed, or how the run ended otherwise; ``None`` if all passed."""
    seconds: float
    output: str


class Checkout:
    """A checkout whose tests are run against copies of its package."""

    def __init__(self, root: Path, copies: Path) -> None:
        self.root = root
        self._copies = copies
        self._python = str(root / ".venv/bin/python")
        self.intact = copies / "intact"
        shutil.copytree(root / "cmemrun", self.intact, ignore=shutil.ignore_patterns("__pycache__"))
        # Caches are in the copy, so that none is taken for that of another copy.
        compileall.compile_dir(str(self.intact), quiet=1)

    @contextlib.contextmanager
    def broken(self, file: str, source: str) -> Iterator[Path]:
        """A copy of the package in which one file, named relative to the checkout, differs."""
        with tempfile.TemporaryDirectory(dir=self._copies) as directory:
            copy = Path(directory) / "cmemrun"
            # Not what Python or pytest is about to rename.
            shutil.copytree(self.intact, copy, ignore=shutil.ignore_patterns("*.pyc.*"))
            path = copy / Path(file).relative_to("cmemrun")
            path.write_text(source)
            # A cache is trusted if time and size of its source are the same.
            for cache in path.parent.glob(f"__pycache__/{path.stem}.*"):
                cache.unlink()
            yield copy

    async def test(self, package: Path, tests: Sequence[str], limit_seconds: float) -> Trial:
        """Run tests here, up to the first failure."""
        return await self._run(
            package, [self._python, "-m", "pytest", *_OPTIONS, *tests], limit_seconds
        )

    async def test_in_guest(self, package: Path, guest: str, limit_seconds: float) -> Trial:
        """Run the acceptance tests in a guest, up to the first failure."""
        command = [str(self.root / "scripts/guest"), "test", guest, *_OPTIONS]
        return await self._run(package, command, limit_seconds)

    async def _run(self, package: Path, command: Sequence[str], limit_seconds: float) -> Trial:
        mark = uuid.uuid4().hex
        environment = {
            **os.environ,
            _MARK: mark,
            "HYPOTHESIS_STORAGE_DIRECTORY": str(package.parent / "hypothesis"),
        }
        begun = time.monotonic()
        hung = False
        with tempfile.TemporaryFile() as stream:
            process = await asyncio.create_subprocess_exec(
                *(*_MOUNTED, str(package), str(self.root / "cmemrun"), *command),
                cwd=self.root,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(limit_seconds):
                    await process.wait()
            except TimeoutError:
                hung = True
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                await _end(mark)
                status = await process.wait()
            stream.seek(0)
            output = stream.read().decode(errors="replace")
        return Trial(_red(output, status, hung=hung), time.monotonic() - begun, output)


_OPTIONS = ("-v", "-x", "--tb=short", "-p", "no:cacheprovider")


def _red(output: str, status: int, *, hung: bool) -> str | None:
    """The first test that failed, as pytest names it."""
    if hung:
        # With -v the name is written before the test begins, and its result after it.
        running = re.search(r"^(tests/\S+(?:\[.*\])?) *\Z", output, re.MULTILINE)
        return f"a hang in {running[1]}" if running else "a hang"
    if status == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (tests/.*?)(?: - .*)?$", output, re.MULTILINE)
    return failed[1] if failed else f"pytest's exit status {status}"


async def _end(mark: str) -> None:
    """End all that a run of tests has started and left."""
    deadline = time.monotonic() + _CLEANUP_SECONDS
    while left := _marked(mark):
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
        await asyncio.sleep(0.1)


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found

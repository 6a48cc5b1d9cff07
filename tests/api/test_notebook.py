"""In a kernel of Jupyter's: what it shows, and how it is interrupted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.api.conftest import groups_of, until_written
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelManager]:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    manager = KernelManager()
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()
    manager.context.destroy()


@pytest.fixture
def client(kernel: KernelManager) -> Iterator[BlockingKernelClient]:
    client = kernel.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE_SECONDS)
    yield client
    client.stop_channels()


def execute(client: BlockingKernelClient, code: str) -> list[dict[str, Any]]:
    """What the kernel says of a cell, but that it is busy and idle."""
    said: list[dict[str, Any]] = []
    client.execute_interactive(code, timeout=PATIENCE_SECONDS, output_hook=said.append)
    quiet = ("status", "execute_input")
    return [one for one in said if one["msg_type"] not in quiet]


def test_what_it_shows(client: BlockingKernelClient) -> None:
    hostile = "<script>alert(1)</script>"
    (shown,) = execute(
        client,
        f"import cmemrun\ncmemrun.measure(['sh', '-c', ': {hostile}; echo out'],"
        " capture_output=True)",
    )
    assert shown["msg_type"] == "execute_result"
    html = shown["content"]["data"]["text/html"]
    assert "working set" in html and "&lt;script&gt;" in html
    assert "<script" not in html
    assert shown["content"]["data"]["text/plain"].startswith("<Run sh -c")


def test_its_own_loop_and_threads(client: BlockingKernelClient) -> None:
    (shown,) = execute(
        client, "import cmemrun\n(await cmemrun.measure_async(['true'])).exit.status"
    )
    assert shown["content"]["data"]["text/plain"] == "0"


def test_interrupted(client: BlockingKernelClient, kernel: KernelManager, tmp_path: Path) -> None:
    told = tmp_path / "told"
    # Before: for a while after an interrupt a kernel aborts what it is asked.
    (shown,) = execute(client, "import os; os.getpid()")
    identifier = client.execute(
        f"import cmemrun\ncmemrun.measure(['sh', '-c', 'echo started > {told}; sleep 1000'])"
    )
    until_written("started", told)
    kernel.interrupt_kernel()
    answer = client.get_shell_msg(timeout=PATIENCE_SECONDS)
    while answer["parent_header"]["msg_id"] != identifier:
        answer = client.get_shell_msg(timeout=PATIENCE_SECONDS)
    assert answer["content"]["ename"] == "KeyboardInterrupt"
    assert not groups_of(int(shown["content"]["data"]["text/plain"]))

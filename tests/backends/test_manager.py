"""The conversation with systemd, over a bus of our own: refusal, silence, nonsense."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, Message, Parser, new_error, new_method_return

from cmemrun import backends, runner
from cmemrun.backends import delegation, manager, systemd
from cmemrun.backends.manager import Manager
from cmemrun.errors import NoGroup, WayFailed
from cmemrun.kernel.hierarchy import Hierarchy, Mount

UNIFIED = Hierarchy((Mount("/sys/fs/cgroup", "/", 2, frozenset()),), {"": "/"})
Answer = Callable[[Message], Message | bytes | None]


class HangUp(Exception):
    """The bus ends the connection."""


def receive_until(peer: socket.socket, end: bytes) -> bytes:
    """Receive what comes up to ``end``; what has come after that."""
    data = b""
    while end not in data:
        part = peer.recv(1000)
        if not part:
            raise HangUp
        data += part
    return data.partition(end)[2]


class Bus:
    """A bus with systemd behind it; ``answer`` says what that says to everything but Hello."""

    def __init__(self, path: Path) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answer: Answer = lambda _: None
        self.welcome = b"OK 0123456789abcdef0123456789abcdef\r\n"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        try:
            peer, _ = self.listening.accept()
        except OSError:
            return
        with peer, contextlib.suppress(HangUp):
            self.talk(peer)

    def talk(self, peer: socket.socket) -> None:
        receive_until(peer, b"\r\n")
        peer.sendall(self.welcome)
        parser = Parser()
        parser.add_data(receive_until(peer, b"BEGIN\r\n"))
        serial = 0
        while True:
            message = parser.get_next_message()
            if message is None:
                part = peer.recv(65536)
                if not part:
                    return
                parser.add_data(part)
                continue
            serial += 1
            member = message.header.fields[HeaderFields.member]
            if member == "Hello":
                answer: Message | bytes | None = new_method_return(message, "s", (":1.5",))
            else:
                self.calls.append((member, message.body))
                answer = self.answer(message)
            if isinstance(answer, Message):
                answer = answer.serialise(serial)
            if answer is not None:
                peer.sendall(answer)

    def close(self) -> None:
        # An accept that waits is woken by this, not by close.
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    found = Bus(tmp_path / "bus")
    yield found
    found.close()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    # For processes that systemd is said to have moved and that do not exist.
    monkeypatch.setattr(systemd, "ANSWER_SECONDS", 0.2)
    found = Manager(system=True)
    yield found
    found.close()


def job(path: str) -> Answer:
    return lambda message: new_method_return(message, "o", (path,))


def ask(system: Manager) -> None:
    # Processes that do not exist: systemd is said to have moved nobody.
    systemd.make(UNIFIED, system, 2**22 + 1, 2**22 + 2, lambda _: None)


def test_what_it_is_asked(bus: Bus, system: Manager) -> None:
    bus.answer = job("/org/freedesktop/systemd1/job/42")
    with pytest.raises(NoGroup, match="has not started"):
        ask(system)
    [(method, (unit, mode, properties, others))] = bus.calls
    assert (method, mode, others) == ("StartTransientUnit", "fail", [])
    assert unit.startswith("cmemrun-") and unit.endswith(".scope")
    told = dict(properties)
    assert told["PIDs"] == ("au", [2**22 + 1, 2**22 + 2])
    assert told["Delegate"] == ("b", True)
    assert told["CollectMode"] == ("s", "inactive-or-failed")


@pytest.mark.parametrize("reason", ["Unit cmemrun.scope already exists.", "\x1b[31mAccess denied"])
def test_a_refusal_is_the_reason(bus: Bus, system: Manager, reason: str) -> None:
    bus.answer = lambda message: new_error(message, "org.example.Failed", "s", (reason,))
    with pytest.raises(NoGroup) as refusal:
        ask(system)
    assert reason in refusal.value.message


@pytest.mark.parametrize(
    "answer",
    [
        lambda message: new_method_return(message, "s", ("hello",)),
        new_method_return,
        job("/org/freedesktop/systemd1/unit/x"),
        lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20,
        lambda _: os.urandom(400),
        lambda _: b"l\x02\x01\x01" + b"\xff" * 200,
    ],
)
def test_nonsense_is_not_taken_for_a_job(
    bus: Bus, system: Manager, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(manager, "ANSWER_SECONDS", 0.3)
    bus.answer = answer
    with pytest.raises(NoGroup, match=r"something else than a job|not make sense|not answer"):
        ask(system)


@pytest.mark.parametrize(
    ("signature", "body"), [(None, ()), ("s", ("x",)), ("ss", ("x", "y")), ("i", (5,))]
)
def test_nonsense_is_not_taken_for_a_property(
    bus: Bus, system: Manager, signature: str | None, body: tuple[Any, ...]
) -> None:
    bus.answer = lambda message: new_method_return(message, signature, body)
    with pytest.raises(NoGroup, match="something else than a value"):
        system.property("x.service", "Delegate")


def test_a_scope_that_may_yet_come_spoils_the_process(bus: Bus, system: Manager) -> None:
    bus.answer = job("/org/freedesktop/systemd1/job/42")
    with pytest.raises(WayFailed) as failure:
        ask(system)
    assert failure.value.way == "systemd"


def test_a_scope_that_was_refused_does_not(bus: Bus, system: Manager) -> None:
    bus.answer = lambda message: new_error(message, "org.example.Failed", "s", ("no",))
    with pytest.raises(NoGroup) as refusal:
        ask(system)
    assert not isinstance(refusal.value, WayFailed)


def test_a_way_that_fails_is_left_for_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, list[str]]] = []

    def choose(hierarchy: Hierarchy, program: int, *rest: Any, **more: Any) -> Any:
        tried.append((program, sorted(more["avoid"])))
        if len(tried) == 1:
            raise WayFailed("too late", way="systemd")
        return real(hierarchy, program, *rest, **more)

    real = backends.choose
    monkeypatch.setattr(runner, "choose", choose)
    assert runner.measure(["true"]).exit.succeeded
    [(first, without), (second, with_less)] = tried
    assert first != second and (without, with_less) == ([], ["systemd"])
    tried.clear()
    with pytest.raises(WayFailed):
        runner.measure(["true"], runner.Settings(backend="systemd"))


def test_an_address_that_is_none_hides_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("/dev/null", "disabled:", "autolaunch:", ""):
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        found = list(Manager(system=False)._addresses())
        assert [is_bus for _, is_bus in found] == [False, True]


def test_a_peer_of_another_pid_namespace_is_not_talked_to(
    bus: Bus, system: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_CREDENTIALS", Credentials())
    with pytest.raises(NoGroup, match="another PID namespace"):
        ask(system)


class Credentials:
    size = 12

    def unpack(self, _: bytes) -> tuple[int, int, int]:
        return (0, 0, 0)


def test_a_welcome_that_makes_no_sense(bus: Bus, system: Manager) -> None:
    bus.welcome = b"REJECTED ANONYMOUS\r\n"
    with pytest.raises(NoGroup, match="does not make sense"):
        ask(system)


def test_a_bus_that_hangs_is_asked_once(
    bus: Bus, system: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "ANSWER_SECONDS", 1.0)
    for _ in range(3):
        with pytest.raises(NoGroup, match="does not answer within 1 s"):
            ask(system)
    assert len(bus.calls) == 1


def test_a_bus_that_goes_away(bus: Bus, system: Manager) -> None:
    def hang_up(_: Message) -> None:
        raise HangUp

    bus.answer = hang_up
    with pytest.raises(NoGroup, match="hung up"):
        ask(system)


def test_no_manager_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(NoGroup, match="no manager to ask") as refusal:
        ask(Manager(system=False))
    # Where a user's bus is, is also known to who has no session.
    assert f"/run/user/{os.geteuid()}/bus" in refusal.value.message
    assert "enable-linger" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("unit", "told", "expected"),
    [
        ("job.service", {"Delegate": ("b", True), "ControlGroup": ("s", "/a/job.service")}, True),
        ("job.service", {"Delegate": ("b", False), "ControlGroup": ("s", "/a/job.service")}, False),
        # Only named like one: systemd tells the defaults of a unit that it does not know.
        ("job.service", {"Delegate": ("b", True), "ControlGroup": ("s", "")}, False),
        ("run-7.scope", {"Delegate": ("b", True), "ControlGroup": ("s", "/a/run-7.scope")}, True),
    ],
)
def test_whether_a_unit_is_left_to_us(
    bus: Bus, system: Manager, tmp_path: Path, unit: str, told: dict[str, Any], expected: bool
) -> None:
    (tmp_path / "a" / unit / "inner").mkdir(parents=True)
    hierarchy = Hierarchy((Mount(str(tmp_path), "/", 2, frozenset()),), {"": f"/a/{unit}/inner"})
    bus.answer = lambda message: new_method_return(message, "v", (told[message.body[1]],))
    assert hierarchy.v2 is not None
    if expected:
        groups = delegation.left_to_us(hierarchy, hierarchy.v2, system)
        assert groups == [f"{tmp_path}/a/{unit}/inner", f"{tmp_path}/a/{unit}"]
    else:
        with pytest.raises(NoGroup, match=r"not delegated|in no unit"):
            delegation.left_to_us(hierarchy, hierarchy.v2, system)
    for method, (interface, _) in bus.calls:
        assert method == "Get" and interface.endswith((".Service", ".Scope"))


def test_a_users_manager_is_not_ours_to_divide(tmp_path: Path, system: Manager) -> None:
    own = "/user.slice/user@1000.service/app.slice"
    (tmp_path / own[1:]).mkdir(parents=True)
    hierarchy = Hierarchy((Mount(str(tmp_path), "/", 2, frozenset()),), {"": own})
    assert hierarchy.v2 is not None
    with pytest.raises(NoGroup, match="left to the manager in it"):
        delegation.left_to_us(hierarchy, hierarchy.v2, system)

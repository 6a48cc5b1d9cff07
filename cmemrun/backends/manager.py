"""systemd's managers, asked over D-Bus: the system's, and the one of the calling user.

Not through ``busctl``: two processes of that take twice as long as this does,
its library included. Whatever a peer answers or does not answer, ``NoGroup`` says
so within ``ANSWER_SECONDS``.
"""

import contextlib
import errno
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from jeepney import DBusAddress, HeaderFields, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, Authenticator
from jeepney.bus import get_bus

from cmemrun.errors import NoGroup
from cmemrun.log import Log

__all__ = ["ANSWER_SECONDS", "Manager", "Property"]

log = Log(__name__)

# A bus that takes longer has a fault; the next way is tried.
ANSWER_SECONDS = 2.0

_NAME = "org.freedesktop.systemd1"
_LINGER = "let your user manager run without a login: sudo loginctl enable-linger $USER"

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid

Property = tuple[str, tuple[str, Any]]


class Manager:
    """One manager, connected to at the first question."""

    def __init__(self, *, system: bool) -> None:
        self._system = system
        self._socket: socket.socket | None = None
        self._serials = count(1)
        self._parser = Parser()
        self._fault: NoGroup | None = None
        self.may_have_moved = False
        """Whether a scope was asked for and not refused: it may yet come."""

    def start_scope(self, unit: str, properties: list[Property]) -> None:
        """Ask for a transient scope; the answer comes before it is there."""
        path = "/org/freedesktop/systemd1"
        self._connected()
        self.may_have_moved = True
        answer = self._ask(
            DBusAddress(path, _NAME, f"{_NAME}.Manager"),
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            (unit, "fail", properties, []),
        )
        match answer:
            case [str(job)] if job.startswith(f"{path}/job/"):
                return
        raise NoGroup(f"systemd answers with something else than a job: {str(answer)[:80]}")

    def property(self, unit: str, name: str) -> Any:
        """A property of a scope or a service; of one that it does not know, the default."""
        kind = unit.rpartition(".")[2].capitalize()
        path = "/org/freedesktop/systemd1/unit/" + re.sub(
            r"[^A-Za-z0-9]|^[0-9]", lambda char: f"_{ord(char[0]):02x}", unit
        )
        # One by one: all of them are some hundred, and take long to take apart.
        answer = self._ask(
            DBusAddress(path, _NAME, "org.freedesktop.DBus.Properties"),
            "Get",
            "ss",
            (f"{_NAME}.{kind}", name),
        )
        match answer:
            case [(_, value)]:
                return value
        raise NoGroup(f"systemd answers with something else than a value: {str(answer)[:80]}")

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, whom: DBusAddress, method: str, signature: str, body: tuple[Any, ...]) -> Any:
        self._connected()
        with self._explained() as deadline:
            return self._call(deadline, whom, method, signature, body)

    def _connected(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._socket is None:
            with self._explained() as deadline:
                self._connect(deadline)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[float]:
        """A deadline, and what came of it as ``NoGroup``; a faulty peer is not asked again."""
        try:
            yield time.monotonic() + ANSWER_SECONDS
        except NoGroup:
            raise
        except TimeoutError:
            self._fault = NoGroup(f"systemd's bus does not answer within {ANSWER_SECONDS:.0f} s")
        except OSError as error:
            self._fault = NoGroup(f"systemd's bus hung up: {error.strerror}")
        except Exception as error:
            # What is no D-Bus at all makes its parser stumble in many ways.
            self._fault = NoGroup(f"systemd's bus does not make sense: {error!r}")
        if self._fault is not None:
            raise self._fault

    def _connect(self, deadline: float) -> None:
        refusals = []
        for address, is_bus in self._addresses():
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.settimeout(_left(deadline))
                peer.connect(address)
                _refuse_strangers(peer)
            except TimeoutError:
                peer.close()
                raise
            except OSError as error:
                peer.close()
                refusals.append(f"{address}: {error.strerror}")
                continue
            self._socket = peer
            handshake = Authenticator()
            for data in handshake:
                self._send(deadline, data)
                handshake.feed(self._receive(deadline))
            self._send(deadline, BEGIN)
            if is_bus:
                bus = "org.freedesktop.DBus"
                self._call(deadline, DBusAddress("/org/freedesktop/DBus", bus, bus), "Hello")
            log.debug("connected to=%s", address)
            return
        self._fault = NoGroup(
            f"no manager to ask ({', '.join(refusals)})", hint=None if self._system else _LINGER
        )
        raise self._fault

    def _addresses(self) -> Iterator[tuple[str, bool]]:
        """Where to connect to, and whether it is a bus or the manager's own socket.

        The own socket is what ``systemctl`` asks at: one peer less to wait for,
        there without a bus, and not at the mercy of what the environment calls
        one. The user's are there also for who has no session (sudo, cron, CI).
        """
        top = "/run" if self._system else f"/run/user/{os.geteuid()}"
        yield f"{top}/systemd/private", False
        # What is named may be no address at all (CI images name /dev/null).
        with contextlib.suppress(Exception):
            yield get_bus("SYSTEM" if self._system else "SESSION"), True
        yield f"{top}/dbus/system_bus_socket" if self._system else f"{top}/bus", True

    def _call(
        self,
        deadline: float,
        whom: DBusAddress,
        method: str,
        signature: str | None = None,
        body: tuple[Any, ...] = (),
    ) -> Any:
        serial = next(self._serials)
        self._send(deadline, new_method_call(whom, method, signature, body).serialise(serial))
        while True:
            message = self._parser.get_next_message()
            if message is None:
                self._parser.add_data(self._receive(deadline))
            elif message.header.fields.get(HeaderFields.reply_serial) == serial:
                break
        if message.header.message_type is MessageType.error:
            reason = message.body[0] if message.body else "no reason"
            self.may_have_moved = False
            raise NoGroup(f"systemd refuses: {reason}")
        return message.body

    def _send(self, deadline: float, data: bytes) -> None:
        assert self._socket is not None  # noqa: S101
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(data)

    def _receive(self, deadline: float) -> bytes:
        assert self._socket is not None  # noqa: S101
        self._socket.settimeout(_left(deadline))
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
        return data


def _refuse_strangers(peer: socket.socket) -> None:
    """Talk to nobody of another PID namespace, who would move whoever has our numbers there.

    A container that shows the machine's /run is such a place (unix(7), SO_PEERCRED).
    """
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(credentials)[0] == 0:
        raise OSError(errno.ESRCH, "its peer is in another PID namespace")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left

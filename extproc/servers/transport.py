"""What carries gRPC for the router: `grpcio`, or the lean transport of `extproc.servers.lean`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

LEAVE_S: Final = 0.2
"""How long at least a client has to hear that the server leaves, and to read its last answers."""

UNIX: Final = "unix:"


class BindError(Exception):
    """An address that can't be listened on: in use, or not this machine's."""


class Transport(Protocol):
    """Serves ext_proc, the access logs and `grpc.health.v1` from `start` to `stop`."""

    def bind(self, address: str) -> None:
        """`host:port` or `unix:/path`. Raises `BindError`."""

    async def start(self) -> None: ...

    async def set_serving(self, *, serving: bool) -> None:
        """What health checks are told from now on."""

    async def stop(self, grace_s: float | None) -> None:
        """Take nothing new; what is open has `grace_s` to finish, and `LEAVE_S` at least."""


def bind_error(address: str, error: OSError) -> BindError:
    # A name that is none has a negative number, and a text of its own.
    is_of_the_system = error.errno is not None and error.errno > 0
    what = os.strerror(error.errno or 0) if is_of_the_system else error.strerror
    return BindError(f"can't listen on {address}: {what or 'no such address'}")


def check_unused(path: str) -> None:
    """Raises `OSError` if somebody serves that socket; a file that nobody serves is no matter."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def bound(address: str) -> Iterator[socket.socket]:
    """The sockets of `address`, of which a host's name may have several. Raises `OSError`."""
    if address.startswith(UNIX):
        path = address.removeprefix(UNIX)
        check_unused(path)
        with suppress(FileNotFoundError):
            Path(path).unlink()
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
        except OSError:
            listener.close()
            raise
        yield listener
        return
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, *_, place in dict.fromkeys(found):
        yield _bound(family, place)


def _bound(family: int, place: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # All of a machine is all of it; of a name, each address has a socket of its own.
            is_all = place[0] == "::"
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_all else 1)
        listener.bind(place)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener

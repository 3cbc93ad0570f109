"""Streamed answers, timed event by event: a few connections that ask for one after the other.

Each event says when the upstream sent it, on the clock that all processes of a machine share, so
that what it took to get here is known however unevenly the events were sent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop
from load import request_of
from upstream import CHUNKS

ANSWER_S: Final = 60.0
SENT: Final = re.compile(rb'"content": ?"(\d{6,})"')
_CARRY_BYTES: Final = 4096
_LAST: Final = b"0\r\n\r\n"
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Streams:
    """Times in ms: of each stream to its first event, and of each event since it was sent.

    `gaps_ms` are between one event and the next of the same stream, as they arrive.
    """

    first_byte_ms: tuple[float, ...]
    delays_ms: tuple[float, ...]
    gaps_ms: tuple[float, ...]


class StreamError(Exception):
    """An answer is not the stream that was asked for."""


def run(
    url: str, body: bytes, headers: Mapping[str, str], *, connections: int, each: int
) -> Streams:
    """`each` streams on every connection, one after the other.

    Raises:
        StreamError: one of them is not whole.

    """
    where = urlsplit(url)
    request = request_of(url, body, {"content-type": "application/json", **headers})
    host, port = str(where.hostname), int(where.port or 80)
    clients = uvloop.run(_drive(host, port, request, connections, each))
    arrivals = [one for client in clients for one in client.streams]
    return Streams(
        tuple((events[0][1] - begun) / _NS_PER_MS for begun, events in arrivals),
        tuple((at - sent) / _NS_PER_MS for _, events in arrivals for sent, at in events),
        tuple(
            (after - before) / _NS_PER_MS
            for _, events in arrivals
            for (_, before), (_, after) in pairwise(events)
        ),
    )


async def _drive(
    host: str, port: int, request: bytes, connections: int, each: int
) -> Sequence[_Client]:
    loop = asyncio.get_running_loop()

    def client() -> _Client:
        return _Client(request, each, loop.create_future())

    made = [await loop.create_connection(client, host, port) for _ in range(connections)]
    clients = [protocol for _, protocol in made]
    try:
        await asyncio.wait_for(asyncio.gather(*(one.done for one in clients)), ANSWER_S)
    except TimeoutError:
        raise StreamError(f"no end of it within {ANSWER_S:.0f} s") from None
    finally:
        for transport, _ in made:
            transport.abort()
    return clients


class _Client(asyncio.Protocol):
    """One connection. Of each stream: when it was asked for, and its events (sent, arrived)."""

    def __init__(self, request: bytes, each: int, done: asyncio.Future[None]) -> None:
        self.done = done
        self.streams: list[tuple[int, list[tuple[int, int]]]] = []
        self._request = request
        self._left = each
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        received = self._received + data
        events = self.streams[-1][1]
        end = 0
        for match in SENT.finditer(received):
            events.append((int(match[1]), now))
            end = match.end()
        self._received = received[max(end, len(received) - _CARRY_BYTES) :]
        if received.endswith(_LAST):
            self._end()
        elif not events and not received.startswith(b"HTTP/1.1 200"[: len(received)]):
            self._fail(received.partition(b"\r\n")[0])

    def connection_lost(self, _exc: Exception | None) -> None:
        self._fail(b"the connection was closed")

    def _end(self) -> None:
        if len(self.streams[-1][1]) != CHUNKS:
            self._fail(b"%d events of %d" % (len(self.streams[-1][1]), CHUNKS))
        elif self._left:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._left -= 1
        self._received = b""
        self.streams.append((time.monotonic_ns(), []))
        self._transport.write(self._request)

    def _fail(self, why: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(StreamError(why[:200].decode(errors="replace")))


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]

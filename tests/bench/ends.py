"""Both ends of many requests at once, in one process: a client, and a provider that is slow.

The client speaks HTTP/2, a hundred requests on each connection: Envoy needs a descriptor for each
connection, and to the provider, which speaks HTTP/1.1, it has one for every request already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from upstream import body_length

EACH: Final = 100
"""Requests under way on one connection of the client."""

BACKLOG: Final = 4096
_TICK_S: Final = 0.02
_POLL_S: Final = 0.1


async def until(holds: Callable[[], bool], wait_s: float) -> None:
    """Returns when it does, or after `wait_s`."""
    for _ in range(round(wait_s / _POLL_S)):
        if holds():
            return
        await asyncio.sleep(_POLL_S)


async def paced(count: int, per_second: int, act: Callable[[int], None]) -> None:
    """`act` on 0, 1, … `count`, so many a second; late ones are made up for."""
    loop = asyncio.get_running_loop()
    begun_s, done = loop.time(), 0
    while done < count:
        due = min(count, int((loop.time() - begun_s) * per_second) + 1)
        for number in range(done, due):
            act(number)
        done = due
        await asyncio.sleep(_TICK_S)


# The provider.


class Provider:
    """Keeps every request until it is told to answer them, with the same `answer` each."""

    def __init__(self, answer: bytes) -> None:
        self.response = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(answer), answer)
        )
        self.held: dict[_Connection, None] = {}
        """In the order in which they came."""

    async def listen(self, hosts: Sequence[str], port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Connection(self), hosts, port, backlog=BACKLOG)

    async def answer(self, per_second: int) -> None:
        """All that are there, those that came first first."""
        waiting = list(self.held)
        await paced(len(waiting), per_second, lambda number: waiting[number].answer())


class _Connection(asyncio.Protocol):
    """One request at a time, as Envoy sends them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        if len(self._received) >= head_end + 4 + body_length(self._received[:head_end].lower()):
            self._received.clear()
            self._provider.held[self] = None

    def connection_lost(self, _exc: Exception | None) -> None:
        self._provider.held.pop(self, None)

    def answer(self) -> None:
        if self in self._provider.held:  # else it has gone meanwhile
            del self._provider.held[self]
            self._transport.write(self._provider.response)


# The client.


@dataclass(slots=True)
class Answer:
    """What has come of one so far; `ended` is empty until it ends: `whole`, or why it is not."""

    status: str = ""
    attempts: str = ""
    body: bytes = b""
    ended: str = ""


class Client:
    """As many connections as the requests need; `answers` are in the order of the requests."""

    def __init__(self, port: int, headers: Mapping[str, str], body: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", f"127.0.0.1:{port}"),
            *headers.items(),
            ("content-length", str(len(body))),
        )
        self._body = body
        self.answers: list[Answer] = []

    def open(self) -> int:
        return sum(not answer.ended for answer in self.answers)

    async def ask(self, count: int, per_second: int) -> None:
        """Returns when the last is sent."""
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(-(-count // EACH)):
            _, connection = await loop.create_connection(
                lambda: _Http2(loop.create_future()), *self._address
            )
            await connection.greeted
            connections.append(connection)
        first = len(self.answers)
        self.answers += [Answer() for _ in range(count)]

        def send(number: int) -> None:
            answer = self.answers[first + number]
            connections[number % len(connections)].send(self._headers, self._body, answer)

        await paced(count, per_second, send)

    async def answered(self, wait_s: float) -> None:
        """Returns when all are, or after `wait_s`."""
        await until(lambda: not self.open(), wait_s)


class _Http2(asyncio.Protocol):
    def __init__(self, greeted: asyncio.Future[None]) -> None:
        self.greeted = greeted
        """Until then it is not known how much may be under way."""
        self._http2 = H2Connection(H2Configuration())
        self._answers: dict[int, Answer] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._http2.initiate_connection()
        self._flush()

    def send(self, headers: Sequence[tuple[str, str]], body: bytes, answer: Answer) -> None:
        if self._transport.is_closing():
            answer.ended = "the connection was closed before it was sent"
            return
        stream_id = self._http2.get_next_available_stream_id()
        self._answers[stream_id] = answer
        self._http2.send_headers(stream_id, headers)
        self._http2.send_data(stream_id, body, end_stream=True)
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._http2.receive_data(data):
            match event:
                case RemoteSettingsChanged() if not self.greeted.done():
                    self.greeted.set_result(None)
                case ResponseReceived():
                    answer, told = self._answers[event.stream_id], dict(event.headers)
                    answer.status = told[b":status"].decode()
                    answer.attempts = told.get(b"x-router-attempts", b"").decode()
                case DataReceived():
                    self._answers[event.stream_id].body += event.data
                    self._http2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                case StreamEnded():
                    self._answers.pop(event.stream_id).ended = "whole"
                case StreamReset():
                    # Of one that has ended too, where Envoy is told that no more will come.
                    if cut := self._answers.pop(event.stream_id, None):
                        cut.ended = f"reset, {event.error_code}"
        self._flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        for answer in self._answers.values():
            answer.ended = "the connection was closed"
        self._answers.clear()

    def _flush(self) -> None:
        self._transport.write(self._http2.data_to_send())

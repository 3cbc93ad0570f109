"""The cheapest provider there can be: `python upstream.py PORT` gives every request one answer.

It parses no more of a request than where it ends and, if it is short, whether it asks for a stream,
so that it is not what a benchmark measures. What each event of a stream says is when it was sent.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any, Final, cast

import uvloop

CHUNKS: Final = 500
PACE_S: Final = 0.002
STREAM_BODY_BYTES_MAX: Final = 16 * 1024
"""Larger requests are not looked into."""


def _completion(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "chatcmpl-bench", "object": kind, "created": 0, "model": "bench"}
    return head | {"choices": [{"index": 0} | choice]}


_MESSAGE: Final = {"role": "assistant", "content": "All is well. " * 32}
_USAGE: Final = {"prompt_tokens": 300, "completion_tokens": 100, "total_tokens": 400}
ANSWER: Final = json.dumps(
    _completion("chat.completion", {"message": _MESSAGE, "finish_reason": "stop"})
    | {"usage": _USAGE}
).encode()

_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_LENGTH: Final = b"content-length:"
_ASKS_FOR_STREAM: Final = re.compile(rb'"stream": ?true')


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps(_completion("chat.completion.chunk", choice)).encode() + b"\n\n"


_WHEN: Final = b"@when"
_EVENT: Final = _event({"role": "assistant", "content": _WHEN.decode()}, None)
_END: Final = _event({}, "stop") + b"data: [DONE]\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = bytearray()
        self._skipped = 0
        """Bytes of a large body that are still to come."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._skipped > len(data):
            self._skipped -= len(data)
            return
        if self._skipped:
            data = data[self._skipped :]
            self._skipped = 0
            self._transport.write(_RESPONSE)
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            body_bytes = body_length(self._received[:head_end].lower())
            request_end = head_end + 4 + body_bytes
            if len(self._received) < request_end:
                if body_bytes > STREAM_BODY_BYTES_MAX:
                    self._skipped = request_end - len(self._received)
                    self._received.clear()
                return
            self._answer(self._received[head_end + 4 : request_end])
            del self._received[:request_end]

    def _answer(self, body: bytearray) -> None:
        if len(body) <= STREAM_BODY_BYTES_MAX and _ASKS_FOR_STREAM.search(body):
            self._transport.write(_STREAM_HEAD)
            self._stream(asyncio.get_running_loop(), 0)
        else:
            self._transport.write(_RESPONSE)

    def _stream(self, loop: asyncio.AbstractEventLoop, number: int, begun_s: float = 0.0) -> None:
        begun_s = begun_s or loop.time()
        if number == CHUNKS:
            self._transport.write(_framed(_END) + b"0\r\n\r\n")
            return
        self._transport.write(_framed(_EVENT.replace(_WHEN, b"%d" % time.monotonic_ns())))
        due_s = begun_s + (number + 1) * PACE_S
        self._timer = loop.call_at(due_s, self._stream, loop, number + 1, begun_s)


def body_length(head: bytearray) -> int:
    _, found, rest = head.partition(_LENGTH)
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

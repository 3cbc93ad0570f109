"""The cheapest provider there can be: `python upstream.py PORT` gives every request one answer.

It parses no more of a request than where it ends, so that it is not what a benchmark measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final, cast

import uvloop

ANSWER: Final = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 0,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "All is well. " * 32},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 100, "total_tokens": 400},
    }
).encode()

_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
)
_LENGTH: Final = b"content-length:"


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            request_end = head_end + 4 + _body_length(self._received[:head_end].lower())
            if len(self._received) < request_end:
                return
            del self._received[:request_end]
            self._transport.write(_RESPONSE)


def _body_length(head: bytearray) -> int:
    _, found, rest = head.partition(_LENGTH)
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

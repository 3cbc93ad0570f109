"""A plain HTTP/2 server on `Http2Connection`: 200 and a few bytes to every request that has ended.

`python tests/http2_server.py PORT` serves for h2spec, a conformance test that is a program of its
own: `h2spec --port PORT --strict`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from extproc.http2 import Data, Http2Connection, Opened
from extproc.http2.blocks import header_block

HEADERS = header_block([(b":status", b"200"), (b"content-type", b"text/plain")])
TRAILERS = header_block([(b"x-trailer", b"1")])
BODY = b"hello"


def serve(connection: Http2Connection, data: bytes, now: float) -> None:
    """Answer what `data` ends."""
    for event in connection.receive(data, now):
        if isinstance(event, Opened | Data) and event.ended:
            connection.send_headers(event.stream_id, HEADERS)
            connection.send_data(event.stream_id, BODY)
            connection.end(event.stream_id, TRAILERS)


class Served(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._http2 = Http2Connection()

    def data_received(self, data: bytes) -> None:
        serve(self._http2, data, asyncio.get_running_loop().time())
        self._wire.write(self._http2.take_output())
        if self._http2.closed:
            self._wire.close()


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Served, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

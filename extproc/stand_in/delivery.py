"""How an answer travels, and what a fault does to it on the way."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from aiohttp import web

from extproc.stand_in.errors import ApiError
from extproc.stand_in.faults import Fault

SILENCE_S_MAX = 600
"""How long a request that hangs or stalls is held if its client does not leave."""
RESET_PAUSE_S = 0.02
"""Before a reset, so that what was sent so far is read as data and not swept away with it."""


async def hold_up(request: web.Request, fault: Fault, *, says_retry_after: bool) -> None:
    """What happens before there is an answer; raises `ApiError` if the fault is the answer.

    A 429 says to wait for one second where the provider says such things.
    """
    if fault.hang:
        await _stay_silent(request)
    await asyncio.sleep(fault.delay_s)
    if fault.reset == "before_headers":
        _reset(request)
    if fault.status is not None:
        limited = fault.status == 429 and says_retry_after
        wait_s = 1 if limited and fault.retry_after_s is None else fault.retry_after_s
        raise ApiError(
            fault.status,
            f"The stand-in was told to answer {fault.status}.",
            wait_s=None if wait_s is None else math.ceil(wait_s),
            headers=({} if wait_s is None else {"retry-after": str(math.ceil(wait_s))})
            | fault.headers,
        )


def broken(
    chunks: Sequence[bytes], error_event: Callable[[int], bytes], fault: Fault
) -> list[bytes]:
    """The chunks of a stream, as many as the fault lets be written at all."""
    if not (fault.error_mid_stream or fault.end_mid_stream):
        return list(chunks)
    half = max(1, len(chunks) // 2)
    return [*chunks[:half], *([error_event(half)] if fault.error_mid_stream else [])]


async def send(
    request: web.Request, chunks: Sequence[bytes], headers: Mapping[str, str], fault: Fault
) -> web.StreamResponse:
    """Send chunk by chunk, each one flushed, for as long as the fault lets it."""
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for sent, chunk in enumerate(chunks):
        if sent == fault.stall_after_chunks:
            await _stay_silent(request)
        if fault.reset == "mid_stream" and sent == len(chunks) // 2:
            await asyncio.sleep(RESET_PAUSE_S)
            _reset(request)
        if sent and fault.chunk_delay_s:
            await asyncio.sleep(fault.chunk_delay_s)
        await response.write(chunk)
    await response.write_eof()
    return response


async def _stay_silent(request: web.Request) -> NoReturn:
    await asyncio.sleep(SILENCE_S_MAX)
    _reset(request)


def _reset(request: web.Request) -> NoReturn:
    """Close the connection with RST instead of FIN: what a crashed provider looks like."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    raise ConnectionResetError

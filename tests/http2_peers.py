"""A client of HTTP/2 that writes any frame, right or wrong, with `hyperframe` rather than ours."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from extproc.http2 import ErrorCode, Event, Http2Connection, Limits
from extproc.http2.frames import Kind

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/x.Y/Z",
    ":authority": "router",
    "content-type": "application/grpc",
    "te": "trailers",
}


def block(fields: Iterable[tuple[str, str]] = REQUEST.items()) -> bytes:
    """A header block that leaves the dynamic table alone."""
    return _block(tuple(fields))


@cache
def _block(fields: tuple[tuple[str, str], ...]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(list(fields)))


def headers(
    stream_id: int, fields: Iterable[tuple[str, str]] = REQUEST.items(), *flags: str
) -> bytes:
    return frame(1, 5 if "END_STREAM" in flags else 4, stream_id, block(fields))


def data(stream_id: int, content: bytes, *flags: str) -> bytes:
    return frame(0, 1 if "END_STREAM" in flags else 0, stream_id, content)


def raw(frame: Frame) -> bytes:
    return frame.serialize()


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Any frame at all."""
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4)
    return head + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    return raw(SettingsFrame(0, values or {}))


def reset(stream_id: int, code: int = ErrorCode.CANCEL) -> bytes:
    return raw(RstStreamFrame(stream_id, code))


def window_update(stream_id: int, increment: int) -> bytes:
    return raw(WindowUpdateFrame(stream_id, increment))


def greeted(limits: Limits | None = None, values: dict[int, int] | None = None) -> Http2Connection:
    """A connection that both have greeted, with the client's settings."""
    connection = Http2Connection(limits)
    connection.receive(PREFACE + settings(values), 0.0)
    connection.take_output()
    return connection


def received(connection: Http2Connection, *sent: bytes, now: float = 0.0) -> list[Event]:
    return connection.receive(b"".join(sent), now)


def frames_of(output: bytes) -> list[Frame]:
    found = []
    view = memoryview(output)
    while view:
        one, size = Frame.parse_frame_header(view[:9])
        one.parse_body(view[9 : 9 + size])
        found.append(one)
        view = view[9 + size :]
    return found


def said(connection: Http2Connection) -> list[str]:
    """What the connection has to send, a few words a frame."""
    return [_words(one) for one in frames_of(connection.take_output())]


def data_of(output: bytes, stream_id: int) -> bytes:
    return b"".join(
        one.data
        for one in frames_of(output)
        if isinstance(one, DataFrame) and one.stream_id == stream_id
    )


def fields_of(output: bytes, decoder: Decoder | None = None) -> list[dict[str, str]]:
    """Each HEADERS frame's fields."""
    decoder = decoder or Decoder()
    return [
        {str(name): str(value) for name, value in decoder.decode(one.data)}
        for one in frames_of(output)
        if isinstance(one, HeadersFrame)
    ]


def _words(one: Frame) -> str:
    match one:
        case GoAwayFrame():
            return f"GOAWAY {ErrorCode(one.error_code).name} {one.last_stream_id}"
        case RstStreamFrame():
            return f"RST_STREAM {one.stream_id} {ErrorCode(one.error_code).name}"
        case WindowUpdateFrame():
            return f"WINDOW_UPDATE {one.stream_id} {one.window_increment}"
        case SettingsFrame() | PingFrame():
            return f"{Kind(one.type or 0).name}{' ACK' if 'ACK' in one.flags else ''}"
        case DataFrame():
            return f"DATA {one.stream_id} {len(one.data)}"
        case _:
            ends = " END_STREAM" if "END_STREAM" in one.flags else ""
            return f"{Kind(one.type or 0).name} {one.stream_id}{ends}"

"""What a peer's SETTINGS say (RFC 9113, 6.5.2)."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.http2 import frames
from extproc.http2.errors import ErrorCode, Http2ConnectionError
from extproc.http2.frames import Setting


def settings_of(payload: bytes) -> Mapping[int, int]:
    """The last value of each, unknown ones included. Raises `Http2ConnectionError`."""
    values = dict(frames.read_setting(payload))
    if values.get(Setting.ENABLE_PUSH, 0) > 1:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
    if values.get(Setting.INITIAL_WINDOW_SIZE, 0) > frames.WINDOW_MAX:
        raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 2^31-1")
    size = values.get(Setting.MAX_FRAME_SIZE, frames.FRAME_BYTES_MAX)
    if not frames.FRAME_BYTES_MAX <= size <= frames.FRAME_BYTES_CEILING:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range")
    return values

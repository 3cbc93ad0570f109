"""The server's half of HTTP/2 (RFC 9113) and of gRPC's framing, as bytes in and bytes out.

    connection = Http2Connection(limits)
    for event in connection.receive(data, now):   # what one read brought
        …                                         # connection.send_headers, send_data, end, reset
    transport.write(connection.take_output())     # one write answers one read

Pure: no sockets, no clock. A peer's faults never raise: they become RST_STREAM or GOAWAY in the
output, and `connection.closed` says when there is nothing more to come.
"""

from extproc.http2.connection import Http2Connection
from extproc.http2.errors import ErrorCode
from extproc.http2.events import Data, Event, Opened, Reset
from extproc.http2.limits import Limits

__all__ = ["Data", "ErrorCode", "Event", "Http2Connection", "Limits", "Opened", "Reset"]

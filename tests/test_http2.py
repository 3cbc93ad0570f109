"""The server's half of HTTP/2: RFC 9113 rule by rule, in bytes and without a socket."""

from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import pytest
from hpack import Decoder, Encoder
from http2_peers import (
    PREFACE,
    REQUEST,
    block,
    data,
    data_of,
    fields_of,
    frame,
    greeted,
    headers,
    raw,
    received,
    reset,
    said,
    settings,
    window_update,
)
from http2_server import serve
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, PriorityFrame

from extproc.http2 import Data, ErrorCode, Http2Connection, Limits, Opened, Reset
from extproc.http2.blocks import KNOWN_MAX, header_block

OK = header_block([(b":status", b"200")])
DONE = header_block([(b"grpc-status", b"0")])
OPEN = headers(1)
HALF = headers(1, REQUEST.items(), "END_STREAM")


def request(**changed: str | None) -> bytes:
    """HEADERS of a request with these fields changed, or absent; `_x` is the pseudo-header `:x`."""
    fields: dict[str, str | None] = dict(REQUEST)
    for name, value in changed.items():
        fields[f":{name[1:]}" if name.startswith("_") else name.replace("_", "-")] = value
    return headers(1, [(name, value) for name, value in fields.items() if value is not None])


def long(number: int) -> bytes:
    return number.to_bytes(4)


# What is wrong, and what is said of it. Each begins on a connection that is greeted.

CONNECTION_FAULTS: dict[str, tuple[bytes, str]] = {
    "a frame larger than announced": (frame(0, 0, 1, b"x" * 16_385), "FRAME_SIZE_ERROR 0"),
    "DATA on no stream": (data(0, b"x"), "PROTOCOL_ERROR 0"),
    "DATA on an idle stream": (data(1, b"x"), "PROTOCOL_ERROR 0"),
    "DATA padded with more than there is": (
        OPEN + frame(0, 0x8, 1, b"\x05abc"),
        "PROTOCOL_ERROR 1",
    ),
    "DATA padded, without its length": (OPEN + frame(0, 0x8, 1, b""), "PROTOCOL_ERROR 1"),
    "HEADERS on no stream": (frame(1, 4, 0, block()), "PROTOCOL_ERROR 0"),
    "HEADERS on a stream of the server's": (headers(2), "PROTOCOL_ERROR 0"),
    "HEADERS on a smaller stream": (headers(5) + reset(5) + headers(3), "PROTOCOL_ERROR 5"),
    "HEADERS with a broken block": (frame(1, 4, 1, b"\xff\xff"), "COMPRESSION_ERROR 1"),
    "HEADERS with an index there is not": (frame(1, 4, 1, b"\xfe"), "COMPRESSION_ERROR 1"),
    "HEADERS with a table size update too late": (
        frame(1, 4, 1, b"\x82\x3f\xe1\x1f"),
        "COMPRESSION_ERROR 1",
    ),
    "HEADERS with a table larger than allowed": (
        frame(1, 4, 1, b"\x3f\xe1\x7f"),
        "COMPRESSION_ERROR 1",
    ),
    "HEADERS that say priority and have none": (frame(1, 0x24, 1, b"abc"), "FRAME_SIZE_ERROR 0"),
    "HEADERS padded with more than there is": (
        frame(1, 0xC, 1, b"\xff" + block()),
        "PROTOCOL_ERROR 0",
    ),
    "HEADERS larger than announced": (
        headers(1, [*REQUEST.items(), ("x", "y" * 16_000), ("z", "y" * 300)]),
        "COMPRESSION_ERROR 1",
    ),
    "DATA amid headers": (frame(1, 0, 1, block()) + data(1, b""), "PROTOCOL_ERROR 0"),
    "an unknown frame amid headers": (
        frame(1, 0, 1, block()) + frame(0x16, 0, 0, b""),
        "PROTOCOL_ERROR 0",
    ),
    "CONTINUATION of another stream": (
        frame(1, 0, 1, block()) + frame(9, 4, 3, b""),
        "PROTOCOL_ERROR 0",
    ),
    "CONTINUATION of nothing": (frame(9, 4, 1, block()), "PROTOCOL_ERROR 0"),
    "PRIORITY of no stream": (frame(2, 0, 0, b"\0" * 5), "PROTOCOL_ERROR 0"),
    "RST_STREAM on no stream": (frame(3, 0, 0, long(8)), "PROTOCOL_ERROR 0"),
    "RST_STREAM on an idle stream": (reset(1), "PROTOCOL_ERROR 0"),
    "RST_STREAM cut short": (OPEN + frame(3, 0, 1, b"\0\0\0"), "FRAME_SIZE_ERROR 1"),
    "SETTINGS of a stream": (frame(4, 0, 1, b""), "PROTOCOL_ERROR 0"),
    "SETTINGS cut short": (frame(4, 0, 0, b"\0" * 5), "FRAME_SIZE_ERROR 0"),
    "SETTINGS acknowledged with content": (frame(4, 1, 0, b"\0" * 6), "FRAME_SIZE_ERROR 0"),
    "SETTINGS with a push that is neither": (settings({2: 2}), "PROTOCOL_ERROR 0"),
    "SETTINGS with too large a window": (settings({4: 2**31}), "FLOW_CONTROL_ERROR 0"),
    "SETTINGS with too small a frame": (settings({5: 16_383}), "PROTOCOL_ERROR 0"),
    "SETTINGS with too large a frame": (settings({5: 2**24}), "PROTOCOL_ERROR 0"),
    "SETTINGS that overflow a window": (
        OPEN + window_update(1, 2**31 - 1 - 65_535) + settings({4: 65_536}),
        "FLOW_CONTROL_ERROR 1",
    ),
    "PUSH_PROMISE": (OPEN + frame(5, 4, 1, long(2) + block()), "PROTOCOL_ERROR 1"),
    "PING of a stream": (frame(6, 0, 1, b"\0" * 8), "PROTOCOL_ERROR 0"),
    "PING cut short": (frame(6, 0, 0, b"\0" * 7), "FRAME_SIZE_ERROR 0"),
    "GOAWAY of a stream": (frame(7, 0, 1, b"\0" * 8), "PROTOCOL_ERROR 0"),
    "GOAWAY cut short": (frame(7, 0, 0, b"\0" * 7), "FRAME_SIZE_ERROR 0"),
    "WINDOW_UPDATE of nothing": (frame(8, 0, 0, long(0)), "PROTOCOL_ERROR 0"),
    "WINDOW_UPDATE cut short": (frame(8, 0, 0, b"\0" * 3), "FRAME_SIZE_ERROR 0"),
    "WINDOW_UPDATE on an idle stream": (window_update(1, 1), "PROTOCOL_ERROR 0"),
    "WINDOW_UPDATE beyond what there can be": (
        window_update(0, 2**31 - 1),
        "FLOW_CONTROL_ERROR 0",
    ),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_fault_of_the_connection_ends_it_with_goaway(name: str) -> None:
    sent, expected = CONNECTION_FAULTS[name]
    connection = greeted()
    received(connection, sent)
    code, last_id = expected.split()
    assert said(connection)[-1] == f"GOAWAY {code} {last_id}"
    assert connection.closed
    assert connection.streams == 0
    assert received(connection, headers(99)) == []
    assert said(connection) == []


STREAM_FAULTS: dict[str, tuple[bytes, str]] = {
    "DATA after the end": (HALF + data(1, b"x"), "STREAM_CLOSED"),
    "DATA after a reset": (OPEN + reset(1) + data(1, b"x"), "STREAM_CLOSED"),
    "HEADERS after the end": (HALF + headers(1, [], "END_STREAM"), "STREAM_CLOSED"),
    "HEADERS after a reset": (OPEN + reset(1) + headers(1), "STREAM_CLOSED"),
    "trailers that do not end": (OPEN + headers(1, [("x", "y")]), "PROTOCOL_ERROR"),
    "trailers with a pseudo-header": (
        OPEN + headers(1, [(":path", "/")], "END_STREAM"),
        "PROTOCOL_ERROR",
    ),
    "an upper case name": (request(X="y"), "PROTOCOL_ERROR"),
    "a name with a space": (request(**{"a b": "y"}), "PROTOCOL_ERROR"),
    "an empty name": (headers(1, [*REQUEST.items(), ("", "y")]), "PROTOCOL_ERROR"),
    "a value with a line feed": (request(x="a\nb"), "PROTOCOL_ERROR"),
    "a value with a zero": (request(x="a\0b"), "PROTOCOL_ERROR"),
    "a value with white space around": (request(x=" b"), "PROTOCOL_ERROR"),
    "a path with a line feed": (request(_path="/a\r\nb"), "PROTOCOL_ERROR"),
    "connection": (request(connection="close"), "PROTOCOL_ERROR"),
    "transfer-encoding": (request(transfer_encoding="chunked"), "PROTOCOL_ERROR"),
    "te other than trailers": (request(te="gzip"), "PROTOCOL_ERROR"),
    "no method": (request(_method=None), "PROTOCOL_ERROR"),
    "no scheme": (request(_scheme=None), "PROTOCOL_ERROR"),
    "no path": (request(_path=None), "PROTOCOL_ERROR"),
    "an empty path": (request(_path=""), "PROTOCOL_ERROR"),
    "CONNECT with a path": (request(_method="CONNECT"), "PROTOCOL_ERROR"),
    "an unknown pseudo-header": (request(_protocol="x"), "PROTOCOL_ERROR"),
    "a pseudo-header of responses": (request(_status="200"), "PROTOCOL_ERROR"),
    "a pseudo-header twice": (headers(1, [(":path", "/"), *REQUEST.items()]), "PROTOCOL_ERROR"),
    "a pseudo-header too late": (
        headers(1, [("x", "y"), *REQUEST.items()]),
        "PROTOCOL_ERROR",
    ),
    "a content-length that is no number": (request(content_length="-1"), "PROTOCOL_ERROR"),
    "less than content-length": (
        request(content_length="2") + data(1, b"x", "END_STREAM"),
        "PROTOCOL_ERROR",
    ),
    "more than content-length": (
        request(content_length="2") + data(1, b"xxx"),
        "PROTOCOL_ERROR",
    ),
    "trailers before content-length": (
        request(content_length="2") + headers(1, [], "END_STREAM"),
        "PROTOCOL_ERROR",
    ),
    "no body, but a content-length": (
        headers(1, [*REQUEST.items(), ("content-length", "2")], "END_STREAM"),
        "PROTOCOL_ERROR",
    ),
    "WINDOW_UPDATE of nothing": (OPEN + frame(8, 0, 1, long(0)), "PROTOCOL_ERROR"),
    "WINDOW_UPDATE beyond what there can be": (
        OPEN + window_update(1, 2**31 - 1),
        "FLOW_CONTROL_ERROR",
    ),
    "PRIORITY cut short": (OPEN + frame(2, 0, 1, b"\0" * 4), "FRAME_SIZE_ERROR"),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_fault_of_a_stream_ends_that_one_and_no_other(name: str) -> None:
    sent, code = STREAM_FAULTS[name]
    connection = greeted()
    received(connection, sent)
    assert said(connection) == [f"RST_STREAM 1 {code}"]
    assert connection.streams == 0
    assert [type(event) for event in received(connection, headers(3))] == [Opened]


def test_a_fault_of_an_open_stream_is_told_with_its_code() -> None:
    connection = greeted()
    *_, last = received(connection, HALF, data(1, b"x"))
    assert last == Reset(1, ErrorCode.STREAM_CLOSED)


def test_a_fault_of_the_connection_is_told_of_every_open_stream() -> None:
    connection = greeted()
    events = received(connection, headers(1), headers(3), data(7, b""))
    assert events[2:] == [Reset(1, ErrorCode.PROTOCOL_ERROR), Reset(3, ErrorCode.PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n",
        b"PRJ",
        PREFACE + frame(6, 0, 0, b"\0" * 8),
        PREFACE + frame(0, 0, 0, b""),
        PREFACE + frame(4, 1, 0, b""),
    ],
)
def test_what_does_not_begin_as_http_2_is_turned_away(sent: bytes) -> None:
    connection = Http2Connection()
    assert received(connection, sent) == []
    assert said(connection)[-1] == "GOAWAY PROTOCOL_ERROR 0"


NO_FAULTS: dict[str, bytes] = {
    "PRIORITY of an idle stream": raw(PriorityFrame(9, depends_on=3)),
    "an unknown frame": frame(0x16, 0xFF, 77, b"content"),
    "an unknown setting": settings({0x99: 7}),
    "RST_STREAM after a reset": headers(1) + reset(1) + reset(1),
    "WINDOW_UPDATE after a reset": headers(1) + reset(1) + window_update(1, 7),
    "a PING that answers none": frame(6, 1, 0, b"whatever"),
    "GOAWAY": frame(7, 0, 0, b"\0" * 8 + b"debug"),
    "flags that say nothing": frame(6, 0xFE, 0, b"\0" * 8),
}


@pytest.mark.parametrize("name", NO_FAULTS)
def test_what_is_allowed_is_no_fault(name: str) -> None:
    connection = greeted()
    received(connection, NO_FAULTS[name])
    assert not [one for one in said(connection) if one.startswith(("GOAWAY", "RST_STREAM"))]
    assert received(connection, headers(11))


def test_it_announces_its_limits_at_once() -> None:
    limits = Limits(streams_max=7, stream_window_bytes=100_000, connection_window_bytes=200_000)
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.receive_data(Http2Connection(limits).take_output())
    told = client.remote_settings
    assert (told.max_concurrent_streams, told.initial_window_size) == (7, 100_000)
    assert told.max_header_list_size == 16 * 1024
    assert client.outbound_flow_control_window == 200_000


def test_settings_and_pings_are_answered_in_the_same_write() -> None:
    connection = Http2Connection()
    received(connection, PREFACE, settings({1: 0}), raw(PingFrame(0, b"12345678")))
    assert said(connection)[2:] == ["SETTINGS ACK", "PING ACK"]


def test_a_request_comes_with_its_fields_and_pieces() -> None:
    connection = greeted()
    opened, *pieces = received(
        connection,
        headers(1),
        data(1, b"ab"),
        frame(0, 0x8, 1, b"\x03cd" + b"\0" * 3),  # padded
        headers(1, [("x-trailer", "1")], "END_STREAM"),
    )
    assert isinstance(opened, Opened)
    assert (opened.stream_id, opened.ended) == (1, False)
    assert (opened.head.method, opened.head.path) == (b"POST", b"/x.Y/Z")
    assert opened.head.value(b"te") == b"trailers"
    assert opened.head.value(b"grpc-timeout") == b""
    assert pieces == [Data(1, b"ab", False), Data(1, b"cd", False), Data(1, b"", True)]  # noqa: FBT003


def test_headers_may_come_in_pieces_with_padding_and_priority() -> None:
    whole = block()
    first = HeadersFrame(1, whole[:3], depends_on=0, pad_length=4)
    first.flags |= {"PADDED", "PRIORITY", "END_STREAM"}
    pieces = [ContinuationFrame(1, whole[i : i + 9]) for i in range(3, len(whole), 9)]
    pieces[-1].flags.add("END_HEADERS")
    (opened,) = received(greeted(), raw(first), *map(raw, pieces))
    assert isinstance(opened, Opened)
    assert (opened.head.path, opened.ended) == (b"/x.Y/Z", True)


def test_connect_has_an_authority_and_no_path() -> None:
    fields = [(":method", "CONNECT"), (":authority", "a:1")]
    (opened,) = received(greeted(), headers(1, fields))
    assert isinstance(opened, Opened)
    assert (opened.head.method, opened.head.path) == (b"CONNECT", b"")


# Header compression.


def test_a_known_block_says_the_same_until_the_table_changes() -> None:
    """The same bytes stand for other fields once others were added to the dynamic table."""
    encoder, connection = Encoder(), greeted()
    paths = ["/a", "/a", "/a", "/b", "/a", "/a", *(f"/{i}" for i in range(200)), "/a", "/a"]
    found = []
    for number, path in enumerate(paths):
        fields = (REQUEST | {":path": path}).items()
        sent = frame(1, 5, 2 * number + 1, encoder.encode(list(fields)))
        (opened,) = received(connection, sent)
        assert isinstance(opened, Opened)
        found.append(opened.head.path.decode())
    assert found == paths


def test_a_table_that_shrinks_changes_what_a_known_block_says() -> None:
    encoder, connection = Encoder(), greeted()
    known = [encoder.encode(list(REQUEST.items())) for _ in range(3)]
    for number, sent in enumerate(known):
        received(connection, frame(1, 5, 2 * number + 1, sent))
    received(connection, frame(1, 5, 7, b"\x20" + block()))  # to nothing
    received(connection, frame(1, 5, 9, known[-1]))  # whose fields are gone
    assert said(connection)[-1] == "GOAWAY COMPRESSION_ERROR 9"


def test_more_blocks_than_are_kept_are_read_all_the_same() -> None:
    connection = greeted()
    for number in range(3 * KNOWN_MAX):
        path = f"/{number % (KNOWN_MAX + 3)}"
        fields = (REQUEST | {":path": path}).items()
        (opened,) = received(connection, headers(2 * number + 1, fields))
        assert isinstance(opened, Opened)
        assert opened.head.path.decode() == path


def test_a_malformed_block_stays_malformed() -> None:
    connection = greeted()
    wrong = [(":method", "POST"), ("x", "y")]
    for stream_id in (1, 3):
        received(connection, headers(stream_id, wrong))
        assert said(connection) == [f"RST_STREAM {stream_id} PROTOCOL_ERROR"]


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 300, 20_000])
def test_fields_of_any_length_are_written_as_hpack_reads_them(size: int) -> None:
    fields = ((b"x-" + b"n" * size, b"v" * size), (b"", b""))
    decoder = Decoder(max_header_list_size=100_000)
    assert tuple(decoder.decode(header_block(fields), raw=True)) == fields


def test_a_client_that_allows_no_table_reads_what_is_written() -> None:
    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    connection = greeted(values={1: 0})
    received(connection, headers(1), headers(3))
    for stream_id in (1, 3):
        connection.send_headers(stream_id, OK)
        connection.end(stream_id, DONE)
    assert (
        fields_of(connection.take_output(), decoder)
        == [
            {":status": "200"},
            {"grpc-status": "0"},
        ]
        * 2
    )


# The end of a stream.


def test_who_has_ended_its_half_gets_trailers_and_no_reset() -> None:
    connection = greeted()
    received(connection, HALF)
    connection.send_headers(1, OK)
    connection.send_data(1, b"abc")
    connection.end(1, DONE)
    assert said(connection) == ["HEADERS 1", "DATA 1 3", "HEADERS 1 END_STREAM"]
    assert connection.streams == 0


def test_who_has_not_is_told_by_a_reset_that_no_more_is_wanted() -> None:
    connection = greeted()
    received(connection, OPEN)
    connection.end(1, DONE)
    assert said(connection) == ["HEADERS 1 END_STREAM", "RST_STREAM 1 NO_ERROR"]
    late = [data(1, b"x"), headers(1, [("x", "y")], "END_STREAM"), window_update(1, 9), reset(1)]
    assert received(connection, *late) == []
    assert said(connection) == []


def test_what_is_sent_on_a_stream_that_is_gone_is_dropped() -> None:
    connection = greeted()
    received(connection, OPEN, reset(1))
    connection.send_headers(1, OK)
    connection.send_data(1, b"x")
    connection.end(1, DONE)
    connection.reset(1, ErrorCode.CANCEL)
    assert said(connection) == []


def test_a_stream_too_many_is_refused() -> None:
    connection = greeted(Limits(streams_max=2))
    events = received(connection, headers(1), headers(3), headers(5))
    assert [event.stream_id for event in events] == [1, 3]
    assert said(connection) == ["RST_STREAM 5 REFUSED_STREAM"]
    connection.reset(1, ErrorCode.REFUSED_STREAM)
    assert len(received(connection, headers(7))) == 1


def test_twenty_thousand_streams_may_be_open_at_once() -> None:
    connection = greeted()
    ids = range(1, 40_001, 2)
    assert len(received(connection, *map(headers, ids))) == 20_000
    for stream_id in ids:
        connection.send_data(stream_id, b"x")
        connection.end(stream_id, DONE)
    assert connection.streams == 0
    assert not connection.closed


# Flow control.


def test_windows_are_opened_again_when_half_of_them_is_used() -> None:
    limits = Limits(stream_window_bytes=80_000, connection_window_bytes=160_000)
    connection = greeted(limits)
    received(connection, OPEN, data(1, b"x" * 15_000) * 2)
    assert said(connection) == []
    received(connection, data(1, b"x" * 15_000))
    assert said(connection) == ["WINDOW_UPDATE 1 45000"]
    received(connection, data(1, b"x" * 15_000) * 3)
    assert said(connection) == ["WINDOW_UPDATE 0 90000", "WINDOW_UPDATE 1 45000"]


def test_more_than_a_streams_window_ends_the_stream() -> None:
    connection = greeted(Limits(stream_window_bytes=20_000))
    received(connection, OPEN, data(1, b"x" * 9_000), data(1, b"x" * 12_000))
    assert said(connection) == ["RST_STREAM 1 FLOW_CONTROL_ERROR"]


def test_padding_counts_and_so_does_what_comes_after_the_end() -> None:
    connection = greeted(Limits(connection_window_bytes=65_535))
    received(connection, OPEN)
    connection.end(1, DONE)
    padded = frame(0, 0x8, 1, b"\xff" + b"\0" * 255)
    received(connection, padded * 128)
    assert said(connection)[2:] == ["WINDOW_UPDATE 0 32768"]


def test_data_waits_for_the_streams_window_and_trailers_wait_for_data() -> None:
    connection = greeted(values={4: 10})
    received(connection, OPEN)
    connection.send_data(1, b"a" * 25)
    connection.end(1, DONE)
    assert said(connection) == ["DATA 1 10"]
    received(connection, window_update(1, 12))
    assert said(connection) == ["DATA 1 12"]
    received(connection, window_update(1, 12))
    assert said(connection) == ["DATA 1 3", "HEADERS 1 END_STREAM", "RST_STREAM 1 NO_ERROR"]


def test_data_waits_for_the_connections_window_in_the_order_of_asking() -> None:
    connection = greeted(values={4: 2**20})
    received(connection, headers(1), headers(3), headers(5))
    for stream_id, size in ((1, 65_000), (3, 1000), (5, 1000)):
        connection.send_data(stream_id, b"a" * size)
        connection.end(stream_id, DONE)
    ready = said(connection)
    assert ready[-1] == "DATA 3 535"
    received(connection, window_update(0, 500))
    assert said(connection)[0] == "DATA 3 465"
    received(connection, window_update(0, 10_000))
    assert said(connection)[0] == "DATA 5 965"
    assert connection.streams == 0


def test_a_setting_changes_the_windows_of_open_streams_below_zero_too() -> None:
    connection = greeted(values={4: 10})
    received(connection, OPEN)
    connection.send_data(1, b"a" * 30)
    connection.end(1, DONE)
    received(connection, settings({4: 4}))  # six too many are under way
    received(connection, window_update(1, 6))
    assert said(connection) == ["DATA 1 10", "SETTINGS ACK"]
    received(connection, settings({4: 24}))
    assert said(connection)[:2] == ["DATA 1 20", "HEADERS 1 END_STREAM"]


def test_a_stream_that_waits_on_both_windows_is_sent_and_ended_once() -> None:
    connection = greeted(values={4: 70_000})
    received(connection, headers(1), headers(3))
    connection.send_data(1, b"a" * 65_535)
    connection.send_data(3, b"b" * 80_000)
    connection.end(3, DONE)
    received(connection, window_update(0, 75_000))
    received(connection, window_update(3, 10_000))
    received(connection, window_update(0, 75_000))
    frames = said(connection)
    assert frames.count("HEADERS 3 END_STREAM") == 1
    assert frames[-1] == "RST_STREAM 3 NO_ERROR"


def test_large_data_is_cut_to_what_the_peer_takes() -> None:
    connection = greeted(values={4: 2**20, 5: 40_000})
    received(connection, OPEN, window_update(0, 2**20))
    content = bytes(range(256)) * 400
    connection.send_data(1, content)
    output = connection.take_output()
    assert data_of(output, 1) == content
    assert len(output) == len(content) + 3 * 9


def test_a_reset_forgets_what_waits() -> None:
    connection = greeted(Limits(queued_bytes_max=1000), {4: 0})
    for stream_id in range(1, 21, 2):
        received(connection, headers(stream_id))
        connection.send_data(stream_id, b"x" * 900)
        received(connection, reset(stream_id))
    assert not connection.closed


# Going away.


def test_a_drain_serves_what_was_opened_before_the_peer_knew() -> None:
    connection = greeted()
    received(connection, headers(1))
    connection.drain()
    connection.drain()
    assert said(connection) == ["GOAWAY NO_ERROR 2147483647", "PING"]
    received(connection, headers(3), frame(6, 1, 0, b"draining"), headers(5))
    assert said(connection) == ["GOAWAY NO_ERROR 3", "RST_STREAM 5 REFUSED_STREAM"]
    for stream_id in (1, 3):
        assert not connection.drained
        connection.end(stream_id, DONE)
    assert connection.drained


def test_without_streams_a_drain_is_over_when_the_peer_knows() -> None:
    connection = greeted()
    connection.drain()
    assert not connection.drained
    received(connection, frame(6, 1, 0, b"draining"))
    assert connection.drained


# With an independent client, all together.


def asked(
    client: h2.connection.H2Connection, server: Http2Connection, cut: Callable[[bytes], list[bytes]]
) -> list[h2.events.Event]:
    """What the client is told until nobody has anything to say."""
    found = []
    while sent := client.data_to_send():
        for piece in cut(sent):
            serve(server, piece, 0.0)
        found += client.receive_data(server.take_output())
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 10**6])
def test_an_independent_client_is_served_however_its_bytes_are_cut(size: int) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    server = Http2Connection(Limits(stream_window_bytes=3000))
    client.initiate_connection()
    for stream_id in (1, 3, 5):
        client.send_headers(stream_id, list(REQUEST.items()))
        client.send_data(stream_id, b"x" * 500 * stream_id, end_stream=True)
    client.ping(b"12345678")
    events = asked(client, server, lambda b: [b[i : i + size] for i in range(0, len(b), size)])
    answers = [event for event in events if isinstance(event, h2.events.DataReceived)]
    assert [(one.stream_id, one.data) for one in answers] == [(i, b"hello") for i in (1, 3, 5)]
    kinds = {type(event) for event in events}
    assert kinds >= {h2.events.PingAckReceived, h2.events.SettingsAcknowledged}
    ended = [event.stream_id for event in events if isinstance(event, h2.events.StreamEnded)]
    assert ended == [1, 3, 5]

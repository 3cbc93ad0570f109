"""HTTP/2 against peers who mean harm, or whose bytes were damaged: all is survived and bounded."""

import time
import tracemalloc

import pytest
from hpack import Encoder
from http2_peers import (
    PREFACE,
    REQUEST,
    block,
    data,
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
from hyperframe.frame import PingFrame, PriorityFrame
from hypothesis import given
from hypothesis import strategies as st

from extproc.http2 import Data, Event, Http2Connection, Limits, Opened
from extproc.http2.blocks import header_block
from extproc.http2.messages import MessageError, MessageReader, framed
from extproc.http2.statuses import Status

PING = raw(PingFrame(0, b"12345678"))
DONE = header_block([(b"grpc-status", b"0")])
CALM = "ENHANCE_YOUR_CALM"


def recorded() -> bytes:
    """What a client like Envoy sends: tables in use, halves left open, resets after answers."""
    encoder = Encoder()
    sent = [PREFACE, settings({2: 0, 3: 1024, 4: 2**20}), window_update(0, 2**24)]
    for stream_id in range(1, 15, 2):
        path = "/x.Y/Z" if stream_id % 3 else f"/x.Y/{stream_id}"
        fields = REQUEST | {":path": path, "x-forwarded-for": "192.0.2.2"}
        content = encoder.encode(list(fields.items()))
        if stream_id == 9:
            sent += [frame(1, 0, 9, content[:7]), frame(9, 4, 9, content[7:])]
        else:
            sent.append(frame(1, 4, stream_id, content))
        sent += [data(stream_id, b"\0\0\0\0\x05hello"), frame(0, 8, stream_id, b"\2ab\0\0")]
        sent += [PING, data(stream_id, b"", "END_STREAM"), reset(stream_id)]
    return b"".join(sent)


RECORDED = recorded()


def survived(*pieces: bytes) -> tuple[bytes, Http2Connection]:
    """What a server sends to whom these pieces come from. Raises nothing, and is bounded."""
    connection = Http2Connection(Limits(streams_max=10))
    output = b""
    for piece in pieces:
        serve(connection, piece, 0.0)
        output += connection.take_output()
        assert connection.streams <= 10
    assert len(output) < 1000 + 20 * sum(map(len, pieces))
    return output, connection


# Damage.


def events_of(*pieces: bytes) -> list[Event]:
    connection = Http2Connection()
    return [event for piece in pieces for event in connection.receive(piece, 0.0)]


def test_bytes_mean_the_same_wherever_they_are_cut() -> None:
    whole = events_of(RECORDED)
    assert len(whole) == 7 * 5
    for at in range(len(RECORDED)):
        assert events_of(RECORDED[:at], RECORDED[at:]) == whole


def test_bytes_mean_the_same_one_by_one() -> None:
    assert events_of(*(bytes([byte]) for byte in RECORDED)) == events_of(RECORDED)


@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(["flip", "drop", "add", "repeat"]),
            st.integers(24, len(RECORDED) - 1),
            st.binary(min_size=1, max_size=12),
        ),
        max_size=6,
    ),
    size=st.integers(1, 500),
)
def test_a_damaged_connection_is_survived(edits: list[tuple[str, int, bytes]], size: int) -> None:
    damaged = bytearray(RECORDED)
    for how, at, content in edits:
        match how:
            case "flip":
                damaged[at : at + 1] = bytes([damaged[at % len(damaged)] ^ content[0]])
            case "drop":
                del damaged[at : at + len(content)]
            case "add":
                damaged[at:at] = content
            case "repeat":
                damaged[at:at] = damaged[at : at + 10 * len(content)]
    survived(*(bytes(damaged[i : i + size]) for i in range(0, len(damaged), size)))


@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 11),
            st.integers(0, 255),
            st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
            st.one_of(
                st.binary(max_size=30),
                st.just(block()),
                st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4)),
            ),
        ),
        max_size=30,
    )
)
def test_any_frames_are_survived(frames: list[bytes]) -> None:
    survived(PREFACE, settings(), *frames)


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(content: bytes) -> None:
    survived(content)
    survived(PREFACE + settings() + content)


@given(st.binary(max_size=300))
def test_any_header_block_is_survived(content: bytes) -> None:
    survived(PREFACE, settings(), frame(1, 4, 1, content), frame(1, 5, 3, content))


# Floods.

FLOODS: dict[str, bytes] = {
    "PINGs": PING,
    "SETTINGS": settings({4: 65_535}),
    "settings that change every window": settings({4: 1}) + settings({4: 2}),
    "PRIORITY": raw(PriorityFrame(1, depends_on=0)),
    "empty DATA": data(1, b""),
    "empty CONTINUATIONs": frame(9, 0, 7, b""),
    "unknown frames": frame(0x42, 0, 0, b""),
    "GOAWAYs": frame(7, 0, 0, b"\0" * 8),
    "the smallest window updates": window_update(1, 1) + window_update(0, 1),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off(name: str) -> None:
    connection = greeted()
    received(connection, headers(1))
    if name == "empty CONTINUATIONs":
        received(connection, frame(1, 0, 7, b""))
    for _ in range(101):
        received(connection, FLOODS[name] * 100)
    assert said(connection)[-1].startswith(f"GOAWAY {CALM}")


@pytest.mark.parametrize("name", FLOODS)
def test_the_same_now_and_then_is_none(name: str) -> None:
    connection = greeted()
    received(connection, headers(1))
    if name == "empty CONTINUATIONs":
        received(connection, frame(1, 0, 7, b""))
    for second in range(110):
        received(connection, FLOODS[name] * 100, now=float(second))
    assert not connection.closed


def test_rapid_resets_are_cut_off_after_a_thousand() -> None:
    """CVE-2023-44487."""
    connection = greeted()
    opened = 0
    for stream_id in range(1, 10_000, 2):
        opened += len(received(connection, headers(stream_id), reset(stream_id))) == 2
    assert 990 < opened <= 1000
    assert connection.closed


def test_a_client_that_gives_up_waiting_is_borne_with_longer() -> None:
    connection = greeted()
    for stream_id in range(1, 10_000, 2):
        received(connection, headers(stream_id), data(stream_id, b"x"), reset(stream_id))
    assert not connection.closed
    for stream_id in range(10_001, 30_000, 2):
        received(connection, headers(stream_id), data(stream_id, b"x"), reset(stream_id))
    assert said(connection)[-1].startswith(f"GOAWAY {CALM}")


def test_streams_that_are_reset_for_their_faults_count_as_resets_do() -> None:
    """CVE-2025-8671."""
    connection = greeted()
    for stream_id in range(1, 10_000, 2):
        received(connection, headers(stream_id), window_update(stream_id, 2**31 - 1))
    assert said(connection)[-1].startswith(f"GOAWAY {CALM}")


def test_a_reset_after_an_answer_is_how_envoy_ends_and_costs_nothing() -> None:
    connection = greeted()
    for stream_id in range(1, 10_001, 2):
        received(connection, headers(stream_id))
        connection.send_data(stream_id, b"an answer")
        received(connection, reset(stream_id))
    assert not connection.closed


def test_a_peer_with_small_windows_may_update_them_as_often_as_it_needs() -> None:
    connection = greeted(values={4: 8192})
    for stream_id in range(1, 401, 2):
        received(connection, headers(stream_id))
        connection.send_data(stream_id, b"x" * 800_000)
        connection.end(stream_id, DONE)
        for _ in range(99):
            received(connection, window_update(stream_id, 8192), window_update(0, 8192))
        assert not connection.closed
    assert connection.streams == 0


# Bombs.


def test_headers_that_unpack_to_much_are_not_unpacked() -> None:
    connection = greeted()
    large = b"\x40\x01x" + b"\x7f\x81\x1d" + b"y" * 3840  # goes into the table
    received(connection, frame(1, 4, 1, large + b"\xbe" * 10_000))
    assert said(connection) == ["GOAWAY COMPRESSION_ERROR 1"]


def test_headers_without_end_are_not_gathered() -> None:
    connection = greeted()
    received(connection, frame(1, 0, 1, block()))
    for _ in range(3):
        received(connection, frame(9, 0, 1, b"\0" * 16_384))
    assert said(connection) == [f"GOAWAY {CALM} 0"]


@pytest.mark.parametrize("first", [b"\xff", b"\x7f", b"\x3f", b"\x00\x7f", b"\x0f"])
def test_a_number_without_end_costs_no_time(first: bytes) -> None:
    connection = greeted()
    begun = time.process_time()
    received(connection, frame(1, 4, 1, first + b"\xff" * 16_000))
    assert time.process_time() - begun < 0.5
    assert said(connection) == ["GOAWAY COMPRESSION_ERROR 1"]


def test_a_message_larger_than_allowed_is_refused_by_its_prefix() -> None:
    reader = MessageReader(1000)
    assert reader.receive(framed(b"x" * 1000)) == [b"x" * 1000]
    with pytest.raises(MessageError) as caught:
        reader.receive(b"\0\0\0\x03\xe9")
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


def test_a_compressed_message_is_refused() -> None:
    with pytest.raises(MessageError) as caught:
        MessageReader(1000).receive(b"\1\0\0\0\0")
    assert caught.value.status is Status.UNIMPLEMENTED


@given(
    st.lists(st.binary(max_size=40), max_size=8),
    st.lists(st.integers(0, 60), max_size=20),
)
def test_messages_are_the_same_however_they_are_cut(
    messages: list[bytes], sizes: list[int]
) -> None:
    reader, left, found = MessageReader(1000), b"".join(map(framed, messages)), []
    for size in [*sizes, len(left)]:
        found += reader.receive(left[:size])
        left = left[size:]
    found += reader.receive(left)
    assert found == messages
    assert reader.held == 0


def test_a_message_in_tiny_pieces_takes_no_more_memory_than_it_holds() -> None:
    reader, content = MessageReader(10**6), framed(b"x" * 100_000)
    tracemalloc.start()
    for at in range(0, len(content) - 3, 3):
        assert reader.receive(content[at : at + 3]) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(content)


def test_a_large_message_takes_time_in_proportion() -> None:
    connection, reader = greeted(), MessageReader(10**9)
    received(connection, headers(1))
    content = framed(b"x" * 64 * 2**20)
    begun = time.process_time()
    found: list[bytes] = []
    for at in range(0, len(content), 16_384):
        for event in received(connection, data(1, content[at : at + 16_384])):
            assert isinstance(event, Data)
            found += reader.receive(event.data)
    assert [len(message) for message in found] == [64 * 2**20]
    assert time.process_time() - begun < 4


# Peers who take no answers.


def test_who_takes_no_answers_may_ask_no_more_and_then_is_cut_off() -> None:
    limits = Limits(held_bytes_max=50_000, queued_bytes_max=100_000, connection_window_bytes=65_535)
    connection = greeted(limits, {4: 0})
    stream_ids = iter(range(1, 1000, 2))

    def ask() -> list[str]:
        stream_id = next(stream_ids)
        received(connection, headers(stream_id), data(stream_id, b"x" * 10_000))
        connection.send_data(stream_id, b"y" * 10_000)
        return said(connection)

    grants = [frame for _ in range(9) for frame in ask()]
    assert grants == ["WINDOW_UPDATE 0 40000"]  # and none after the sixth
    with_last = ask() + ask()
    assert with_last[-1].startswith("GOAWAY")


def test_who_takes_answers_again_may_ask_again() -> None:
    limits = Limits(held_bytes_max=50_000, connection_window_bytes=65_535)
    connection = greeted(limits, {4: 0})
    received(connection, headers(1))
    connection.send_data(1, b"y" * 60_000)
    received(connection, data(1, b"x" * 15_000) * 3)
    assert said(connection) == []
    received(connection, window_update(1, 20_000))
    assert said(connection)[-1] == "WINDOW_UPDATE 0 45000"


def test_many_that_wait_are_not_visited_in_vain() -> None:
    """Each update of the connection's window would visit twenty thousand streams for nothing."""
    connection = greeted(values={4: 0})
    for stream_id in range(1, 40_000, 2):
        received(connection, headers(stream_id))
        connection.send_data(stream_id, b"x")
    begun = time.process_time()
    received(connection, window_update(0, 1) * 5000)
    assert time.process_time() - begun < 1


def test_nothing_is_kept_of_streams_that_are_over() -> None:
    connection = greeted()
    tracemalloc.start()
    sizes = []
    for begin in (1, 3001, 6001):
        received(connection, window_update(0, 30_000))
        for stream_id in range(begin, begin + 3000, 2):
            opened, *_ = received(connection, headers(stream_id), data(stream_id, b"x" * 100))
            assert isinstance(opened, Opened)
            connection.send_data(stream_id, b"y" * 10)
            connection.end(stream_id, DONE)
            connection.take_output()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert not connection.closed
    assert sizes[2] < sizes[0] + 20_000

"""How AWS event streams are read: whole messages, whatever the cuts, and nothing on trust."""

import struct
import zlib
from itertools import pairwise

import pytest
from aws_frames import event, framed, header, raw_header
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.event_stream import (
    MESSAGE_BYTES_MAX,
    EventStreamParser,
    FramingError,
    Message,
)

OTHER_HEADERS = [
    raw_header("true", 0),
    raw_header("false", 1),
    raw_header("byte", 2, b"\x01"),
    raw_header("short", 3, b"\x00\x01"),
    raw_header("int", 4, b"\x00\x00\x00\x01"),
    raw_header("long", 5, b"\x00" * 8),
    raw_header("bytes", 6, b"\x00\x03abc"),
    raw_header("time", 8, b"\x00" * 8),
    raw_header("uuid", 9, b"\x00" * 16),
]


def read(*chunks: bytes) -> list[Message]:
    parser = EventStreamParser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


def prelude(length: int, headers_length: int) -> bytes:
    counts = struct.pack(">II", length, headers_length)
    return counts + struct.pack(">I", zlib.crc32(counts))


def test_a_message_has_its_text_headers_and_its_payload() -> None:
    assert read(framed(header("a", "1") + header("żółw", ""), b"payload")) == [
        Message({"a": "1", "żółw": ""}, b"payload")
    ]


@pytest.mark.parametrize("other", OTHER_HEADERS)
def test_headers_of_every_other_type_are_passed_over(other: bytes) -> None:
    headers = header("before", "1") + other + header("after", "2")
    assert read(framed(headers, b"")) == [Message({"before": "1", "after": "2"}, b"")]


def test_a_message_may_be_empty() -> None:
    assert read(framed(b"", b"")) == [Message({}, b"")]


def test_messages_are_the_same_wherever_the_stream_is_cut() -> None:
    stream = framed(header("a", "1"), b"one") + framed(b"", b"") + framed(header("b", "2"), b"2")
    whole = read(stream)
    assert len(whole) == 3
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == whole
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == whole


@settings(deadline=None, max_examples=100, database=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=20), st.text(max_size=30), max_size=4),
            st.binary(max_size=60),
        ),
        max_size=4,
    ),
    st.lists(st.integers(0, 400)),
)
def test_what_is_framed_is_read_back(
    messages: list[tuple[dict[str, str], bytes]], cuts: list[int]
) -> None:
    frames = [
        framed(b"".join(header(*pair) for pair in headers.items()), payload)
        for headers, payload in messages
    ]
    stream, bounds = b"".join(frames), sorted([0, *cuts])
    chunks = [stream[a:b] for a, b in pairwise([*bounds, len(stream) + 400])]
    assert read(*chunks) == [Message(*message) for message in messages]


@pytest.mark.parametrize(
    "stream",
    [
        prelude(16, 0)[:-1] + b"\x00",
        prelude(MESSAGE_BYTES_MAX + 1, 0),
        prelude(2**32 - 1, 2**32 - 1),
        prelude(15, 0),
        prelude(20, 5),
        framed(b"", b"payload")[:-1] + b"\x00",
        framed(b"\x01a", b""),
        framed(b"\x01a\x0a", b""),
        framed(b"\x09a\x07\x00\x01b", b""),
        framed(raw_header("a", 7, b"\x00"), b""),
        framed(raw_header("a", 7, b"\x00\x09b"), b""),
        framed(raw_header("a", 5, b"\x00"), b""),
        framed(raw_header("a", 7, b"\x00\x01\xff"), b""),
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_a_fault_ends_the_stream_after_what_came_whole_before_it(stream: bytes) -> None:
    whole = event("messageStart", role="assistant")
    parser = EventStreamParser()
    assert len(parser.feed(whole + stream)) == 1
    assert parser.broken
    with pytest.raises(FramingError):
        parser.feed(b"")
    with pytest.raises(FramingError):
        parser.feed(whole)


def test_a_length_that_is_too_much_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(FramingError, match="longer than"):
        EventStreamParser().feed(prelude(MESSAGE_BYTES_MAX + 1, 0))


def test_the_longest_message_is_read() -> None:
    payload = bytes(MESSAGE_BYTES_MAX - 16)
    stream = framed(b"", payload)
    chunks = [stream[i : i + 65_536] for i in range(0, len(stream), 65_536)]
    assert read(*chunks) == [Message({}, payload)]

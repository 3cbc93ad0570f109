"""Server-sent events, read byte by byte: as the standard has them, wherever the chunks are cut."""

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.sse import EVENT_BYTES_MAX, ServerSentEvent, SseParser, TooLongError

BOM = b"\xef\xbb\xbf"
quickly = settings(deadline=None, max_examples=200, database=None)


def parsed(chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def by_the_standard(stream: bytes) -> list[ServerSentEvent]:
    """The standard's algorithm on the whole stream, line by line."""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM))[:-1]  # the last one has no end
    found, name, data = [], b"", b""
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                found.append(ServerSentEvent(name.decode(errors="replace"), data[:-1]))
            name, data = b"", b""
        elif field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value
    return found


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\n", [("", b"a")]),
        (b"data: a\r\r", [("", b"a")]),
        (b"data: a\r\n\ndata: b\r\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\ndata\n\n", [("", b"\n")]),
        (b"event: ping\ndata: {}\n\ndata: a\n\n", [("ping", b"{}"), ("", b"a")]),
        (b"event: ping\n\ndata: a\n\n", [("", b"a")]),
        (b"event: a\nevent: b\ndata: x\n\n", [("b", b"x")]),
        (b"event: \xff\ndata: \xff\n\n", [("\ufffd", b"\xff")]),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n", [("", b"a")]),
        (b"data: a\n: data: not this\ndata: b\n\n", [("", b"a\nb")]),
        (b":\n\n:\n\n", []),
        (b"id: 7\nretry: 10\ndata: a\nunknown: x\n\n", [("", b"a")]),
        (b"Data: a\n data: a\ndata : a\n\n", []),
        (b"data: a: b\n\n", [("", b"a: b")]),
        (b"\n\n\ndata: a\n\n\n\n", [("", b"a")]),
        (BOM + b"data: a\n\n", [("", b"a")]),
        (b"\n" + BOM + b"data: a\n\n", []),
        (BOM + BOM + b"data: a\n\n", []),
        (b"data: a\n\ndata: cut off", [("", b"a")]),
        (b"data: a\n\ndata: cut off\n", [("", b"a")]),
        (
            b"data: \xc5\xbc\xc3\xb3\xc5\x82w\x0b\x0c\x1c\xc2\x85\n\n",
            [("", "żółw\v\f\x1c\x85".encode())],
        ),
    ],
)
def test_events_are_those_of_the_standard_at_every_cut(
    stream: bytes, events: list[tuple[str, bytes]]
) -> None:
    expected = [ServerSentEvent(*event) for event in events]
    assert by_the_standard(stream) == expected
    assert parsed([stream]) == expected
    assert parsed(stream[i : i + 1] for i in range(len(stream))) == expected
    for cut in range(len(stream) + 1):
        assert parsed([stream[:cut], b"", stream[cut:]]) == expected


pieces = st.sampled_from(
    [b"data", b"event", b"id", b":", b" ", b"\n", b"\r", b"\r\n", b"a", b"\xc5\xbc", BOM, b"\n\n"]
)


@given(st.lists(pieces, max_size=30), st.lists(st.integers(0, 60), max_size=6))
@quickly
def test_any_bytes_cut_anywhere_are_read_as_the_standard_says(
    written: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(written)
    places = [0, *sorted(cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert parsed(chunks) == by_the_standard(stream)


def test_an_event_holds_at_most_its_bound_wherever_the_chunks_are_cut() -> None:
    most = b"data:" + b"x" * (EVENT_BYTES_MAX - 5)
    assert [len(event.data) for event in parsed([most + b"\n\n", most, b"\n", b"\n"])] == [
        EVENT_BYTES_MAX - 5
    ] * 2
    for chunks in (
        [most + b"x"],
        [most + b"x\n\n"],
        [most, b"x"],
        [most, b"\ndata:", b"\n\n"],
        [(b"data:" + b"x" * 1023 + b"\n") * (EVENT_BYTES_MAX // 1024), b"data:x\n"],
        [b":" + b"x" * EVENT_BYTES_MAX],
    ):
        with pytest.raises(TooLongError):
            parsed(chunks)


def test_what_is_bounded_is_one_event_and_not_the_stream() -> None:
    parser = SseParser()
    event = b"data: " + b"x" * (EVENT_BYTES_MAX // 8) + b"\n\n"
    assert sum(len(parser.feed(event)) for _ in range(40)) == 40

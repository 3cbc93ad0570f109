"""Streams as networks deliver them: in chunks that are cut anywhere."""

from collections.abc import Callable, Sequence

from extproc.dialects.answer import AnswerReader, Event


def fed(reader: AnswerReader, *chunks: bytes) -> list[Event]:
    """All that `reader` says of a stream that comes in these chunks."""
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.end()


def check_every_cut(
    read: Callable[..., list[Event]], stream: bytes, events: Sequence[Event]
) -> None:
    """`read` takes chunks; it finds `events` in `stream` whole, cut in two, and byte by byte."""
    assert read(stream) == [*events]
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == [*events]
    for cut in range(1, len(stream)):
        assert read(stream[:cut], stream[cut:]) == [*events]

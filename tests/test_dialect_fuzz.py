"""Whatever a provider streams, its reader gives events in their order and raises nothing.

A row in `READERS` is a reader and streams that it reads without a mistake. These are damaged in the
ways that break parsers, a hundred thousand times in all, always the same ones for a given table.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

import pytest
import test_anthropic_answers
import test_bedrock_answer
import test_gemini_answers
import test_openai_chat_answers
from cuts import fed

from extproc.dialects import anthropic, bedrock, gemini, openai_chat
from extproc.dialects.answer import AnswerReader, Ended, Event, Failed, Started

STREAMS = 100_000
"""Of all readers together."""

ENDS = (Ended, Failed)


class Row(NamedTuple):
    """`make` gives a new reader; each of `streams` is one that it reads to an `Ended`."""

    name: str
    make: Callable[[], AnswerReader]
    streams: Sequence[bytes]


def whole(streams: Mapping[str, tuple[bytes, Sequence[Event]]]) -> list[bytes]:
    """Those of the recorded streams that come to their end."""
    return [stream for stream, events in streams.values() if isinstance(events[-1], Ended)]


READERS = [
    Row(
        "openai_chat",
        partial(openai_chat.StreamReader, "01J"),
        whole(test_openai_chat_answers.STREAMS),
    ),
    Row("anthropic", partial(anthropic.StreamReader, "01J"), whole(test_anthropic_answers.STREAMS)),
    Row("gemini", partial(gemini.StreamReader, "01J"), whole(test_gemini_answers.STREAMS)),
    Row("bedrock", partial(bedrock.StreamReader, "01J"), [test_bedrock_answer.EVERYTHING]),
]

READER_NAMES = [row.name for row in READERS]

SPLICES = [
    *(b"", b"\n", b"\n\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\xf0\x9f", b"\xef\xbb\xbf"),
    *(b'"', b"\\", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"[" * 2000, b"{}", b"[]"),
    *(b"null", b"true", b"-1", b"0.5", b"1e999", b"NaN", b"9" * 400, b'""', b'"index":', b"data:"),
    *(b"event: error\n", b"data: [DONE]\n\n", b'data: {"error":{"message":"no"}}\n\n'),
]


def damaged(stream: bytes, random: Random) -> bytes:
    """`stream` with one to three spans of it lost, repeated, or replaced by what breaks parsers."""
    for _ in range(random.randrange(1, 4)):
        start = int(random.random() * len(stream))
        end = start + int(random.random() ** 3 * 60)
        match int(random.random() * 5):
            case 0:
                stream = stream[:start] + stream[end:]
            case 1:
                stream = stream[:end] + stream[start:]
            case 2:
                stream = stream[:start]
            case 3:
                stream = stream[:start] + random.choice(SPLICES) + stream[start:]
            case _:
                stream = stream[:start] + random.choice(SPLICES) + stream[end:]
    return stream


@pytest.mark.parametrize("row", READERS, ids=READER_NAMES)
def test_an_undamaged_stream_is_read_to_its_end(row: Row) -> None:
    for stream in row.streams:
        whole = fed(row.make(), stream)
        assert isinstance(whole[0], Started)
        assert isinstance(whole[-1], Ended)


@pytest.mark.parametrize("row", READERS, ids=READER_NAMES)
def test_a_damaged_stream_ends_once_and_raises_nothing(row: Row) -> None:
    random = Random(row.name)
    for number in range(STREAMS // len(READERS)):
        stream = damaged(row.streams[number % len(row.streams)], random)
        reader = row.make()
        try:
            cut = int(random.random() * len(stream))
            events = fed(reader, stream[:cut], stream[cut:])
            more = reader.feed(b"data: {}\n\n") + reader.end()
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream is what helps
            pytest.fail(f"{error!r} from stream {number}: {stream!r}")
        ends = [event for event in events if isinstance(event, ENDS)]
        assert isinstance(events[0], Started | Failed), stream
        assert ends == events[-1:], stream
        assert more == [], stream

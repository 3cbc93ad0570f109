"""What translating a streamed chunk costs: `python tests/bench/translation.py`.

Every pair of a provider's dialect and a client's other one, over the same answer as the stand-in of
that provider streams it, an event a chunk. What is timed is all that a chunk costs in Python but
its transport: Envoy's message decoded, the chunk translated, the reply encoded. Beside it stands
the least that any proxy in Python does to a chunk: parse its JSON and write it again. Only the
ratio means anything on another machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from stand_ins import StandIns

from extproc.config import compile_config, read_config
from extproc.dialects.answer import Envelope
from extproc.dialects.conversation import (
    Conversation,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.exchange import AnswerBody, Rewritten
from extproc.translation import AnswerHead, Translation
from extproc.vocabulary import Api, ReportedModel, Surface, Target
from extproc.wire.ext_proc import decode, encode
from extproc.wire.pb.ext_proc_pb2 import HttpBody, ProcessingRequest

WORDS: Final = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 6
ASKED: Final = Conversation(
    system=(),
    messages=(
        Message(Role.USER, (Text("What does it say?"),)),
        Message(Role.ASSISTANT, (ToolCall("call_1", "read", "{}"),)),
        Message(Role.USER, (ToolResult("call_1", (Text(WORDS),)),)),
    ),
    stream=True,
    tools=(Tool("read"),),
    output_tokens_max=4000,
)
APIS: Final = {
    Api.OPENAI: ("openai", "/v1", "gpt-4o"),
    Api.ANTHROPIC: ("anthropic", "/v1", "claude-sonnet-4-5-20250929"),
    Api.GEMINI: ("google", "/v1beta", "gemini-2.5-flash"),
    Api.BEDROCK: ("bedrock", "", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
NATIVE: Final = {(Surface.CHAT, Api.OPENAI), (Surface.MESSAGES, Api.ANTHROPIC)}
ENVELOPE: Final = Envelope("01JABCDEFGHJKMNPQRSTVWXYZ0", 1_800_000_000, wants_usage=True)


def target_of(api: Api, root: str) -> Target:
    provider, path, model = APIS[api]
    text = f"""
providers: {{ {provider}: {{ baseUrl: '{root}/{provider}{path}', apiKey: k }} }}
models: {{ m: {{ targets: [{{ provider: {provider}, upstreamModel: '{model}' }}],
 contextWindow: 100000 }} }}
routes: [{{ match: {{ default: true }}, model: m }}]
"""
    (target,) = compile_config(read_config(text, {}), {}).snapshot.targets.values()
    return target


def streamed(api: Api, root: str) -> bytes:
    """The answer as the stand-in of `api` streams it."""
    target = target_of(api, root)
    wording = PROVIDERS[api].write_request(ASKED, target)
    provider = target.provider
    answer = httpx.post(
        f"http://{provider.host}:{provider.port}{provider.base_path}{wording.endpoint}",
        content=wording.prefix.encode() + wording.rest,
        headers={
            **provider.api_headers,
            provider.credential_header: f"{provider.credential_prefix}k",
            "content-type": "application/json",
        },
        trust_env=False,
    )
    return answer.raise_for_status().content


def chunks_of(stream: bytes, api: Api) -> list[bytes]:
    """An event each, as they come when a model writes a word at a time."""
    if api is not Api.BEDROCK:
        return [event + b"\n\n" for event in stream.replace(b"\r", b"").split(b"\n\n") if event]
    found = []
    while stream:
        (length,) = struct.unpack(">I", stream[:4])
        found.append(stream[:length])
        stream = stream[length:]
    return found


def messages_of(chunks: Sequence[bytes]) -> list[bytes]:
    """As Envoy sends them."""
    return [
        ProcessingRequest(
            response_body=HttpBody(body=chunk, end_of_stream=number == len(chunks))
        ).SerializeToString()
        for number, chunk in enumerate(chunks, 1)
    ]


def translating(surface: Surface, api: Api, messages: Sequence[bytes]) -> Callable[[], bytes]:
    """One whole stream through the router, as a function; it gives what the client gets."""
    head = AnswerHead(200, PROVIDERS[api].stream_type, wants_stream=True)
    model = ReportedModel("m")

    def run() -> bytes:
        translation = Translation(CLIENTS[surface], PROVIDERS[api], ENVELOPE, model, head)
        written = []
        for message in messages:
            event = decode(message)
            assert isinstance(event, AnswerBody)
            piece = translation.piece(event.body, last=event.end_of_stream)
            encode(Rewritten(piece.body, event.end_of_stream, piece.told))
            written.append(piece.body)
        return b"".join(written)

    return run


def copying(chunks: Sequence[bytes]) -> Callable[[], bytes]:
    """The least that a proxy in Python does: parse each event's JSON, write it again."""

    def run() -> bytes:
        written = []
        for chunk in chunks:
            data = chunk.partition(b"data:")[2].strip()
            if data.startswith(b"{"):
                written.append(b"data: " + json.dumps(json.loads(data)).encode() + b"\n\n")
        return b"".join(written)

    return run


def us_per_chunk(
    runs: Sequence[Callable[[], bytes]], chunks: Sequence[int], rounds: int
) -> list[float]:
    """The medians of CPU time, in turns, so that all meet the same machine."""
    found: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for taken, run, count in zip(found, runs, chunks, strict=True):
            began = time.process_time_ns()
            run()
            taken.append((time.process_time_ns() - began) / 1000 / count)
    return [median(taken) for taken in found]


def main() -> None:
    parser = argparse.ArgumentParser(description="What translating a streamed chunk costs.")
    parser.add_argument("--rounds", type=int, default=200, help="streams of each pair (200)")
    rounds = parser.parse_args().rounds
    with StandIns() as providers:
        chunks = {api: chunks_of(streamed(api, providers.root_url), api) for api in APIS}
    pairs = [
        (surface, api)
        for surface in CLIENTS
        if CLIENTS[surface].translated
        for api in APIS
        if (surface, api) not in NATIVE
    ]
    runs = [translating(surface, api, messages_of(chunks[api])) for surface, api in pairs]
    for pair, run in zip(pairs, runs, strict=True):
        if b"wisdom" not in run():
            raise SystemExit(f"{pair}: not the answer to be measured")
    counts = [len(chunks[api]) for _, api in pairs]
    copied = len(chunks[Api.OPENAI])
    copying_us, *figures = us_per_chunk(
        [copying(chunks[Api.OPENAI]), *runs], [copied, *counts], rounds
    )
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, medians of {rounds} rounds",
        "",
        "| from | to | chunks | CPU per chunk | of copying |",
        "| --- | --- | --- | --- | --- |",
        f"| copying JSON | | {copied} | {copying_us:.1f} µs | 1 |",
        *(
            f"| {api} | {surface} | {count} | {us:.1f} µs | {us / copying_us:.1f} |"
            for (surface, api), count, us in zip(pairs, counts, figures, strict=True)
        ),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

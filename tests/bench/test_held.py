"""The bench of held requests holds them all, and says of each that failed why."""

import asyncio
import json
import resource
from collections import Counter
from pathlib import Path

import held
import pytest
import uvloop
from ends import Answer, Client, Provider, paced, until
from held import TEXT, Held, Memory, failure, hold, table
from processes import free_ports

from extproc.config import compile_config, read_config

GOOD = json.dumps({"choices": [{"message": {"content": TEXT}}]}).encode()
MIB = 2**20


def answer(
    status: str = "200", attempts: str = "1", body: bytes = GOOD, ended: str = "whole"
) -> Answer:
    return Answer(status, attempts, body, ended)


def row(api: str, failures: Counter[str]) -> Held:
    router, envoy = Memory(80 * MIB, 84 * MIB, 82 * MIB), Memory(70 * MIB, 900 * MIB, 800 * MIB)
    streams = 1000 if api == "anthropic" else 0
    return Held("lean", api, 1024, 60.0, streams, 1000, failures, router, envoy)


@pytest.mark.parametrize("api", held.ANSWERS)
def test_all_are_held_at_once_and_all_are_answered(api: str, tmp_path: Path) -> None:
    seen = uvloop.run(hold(tmp_path, api, "lean", count=20, seconds=1, per_second=400))
    assert seen.failures == {}
    assert seen.upstream == 20
    assert seen.streams == (20 if api == "anthropic" else 0)
    assert seen.seconds >= 1
    assert min(seen.router.before, seen.envoy.before) > MIB


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (answer(), None),
        (answer(ended=""), "no answer"),
        (answer(ended="reset, 2"), "reset, 2"),
        (answer(status="503", body=b"overflow"), "503 overflow"),
        (answer(attempts="2"), "answered after 2 attempts"),
        (answer(body=GOOD.replace(b"well", b"lost")), "another answer: "),
        (answer(body=b"half"), "another answer: half"),
    ],
)
def test_what_is_not_the_one_answer_after_one_attempt_has_failed(
    given: Answer, why: str | None
) -> None:
    told = failure(given)
    assert told == why or (told and why and told.startswith(why))


def test_a_client_whose_provider_leaves_has_no_answer_and_knows_it() -> None:
    async def abandoned() -> list[Answer]:
        (port,) = free_ports(1)
        loop = asyncio.get_running_loop()

        class Gone(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                transport.write(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS, as a server begins
                loop.call_later(0.1, transport.abort)

        async with await loop.create_server(Gone, "127.0.0.1", port):
            client = Client(port, held.HEADERS, b"{}")
            await client.ask(2, 1000)
            await client.answered(5)
        return client.answers

    assert [one.ended for one in asyncio.run(abandoned())] == ["the connection was closed"] * 2


def test_a_provider_has_whole_requests_and_forgets_who_has_gone() -> None:
    async def held_by() -> tuple[int, int, int]:
        (port,) = free_ports(1)
        provider = Provider(b"{}")
        async with await provider.listen(["127.0.0.1"], port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{")
            await asyncio.sleep(0.05)
            half = len(provider.held)
            writer.write(b"}")
            await until(lambda: len(provider.held) == 1, 10)
            whole = len(provider.held)
            writer.transport.abort()
            await until(lambda: not provider.held, 10)
            return half, whole, len(provider.held)

    assert asyncio.run(held_by()) == (0, 1, 0)


def test_the_pace_leaves_none_out() -> None:
    done: list[int] = []
    asyncio.run(paced(7, 1000, done.append))
    assert done == list(range(7))


@pytest.mark.parametrize("api", held.ANSWERS)
def test_no_provider_is_given_up_before_it_answers(api: str) -> None:
    config = read_config(held.routing(1, api, "lean", 60), {})
    snapshot = compile_config(config, {}).snapshot
    assert snapshot.first_byte_timeout_s > 60 + 2 * held.WAIT_S
    assert {target.provider.host for target in snapshot.targets.values()} == set(held.HOSTS)


def test_the_report_says_how_many_were_open_and_what_failed() -> None:
    rows = [row("openai", Counter()), row("anthropic", Counter({"503 overflow": 24}))]
    text = table(rows)
    assert (
        "| lean, the client's dialect | 1,000 | 0 | 60 | 0 of 1,024 "
        "| 80 → 84 → 82 | 70 → 900 → 800 | 4.0 |"
    ) in text
    assert "| lean, another dialect | 1,000 | 1,000 | 60 | 24 of 1,024 |" in text
    assert "Failed, 24 times: 503 overflow." in text


def test_what_descriptors_do_not_suffice_for_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    with pytest.raises(SystemExit, match="needs 10600 descriptors, and `ulimit -Hn` is 4096"):
        held.raise_limit(10_000)

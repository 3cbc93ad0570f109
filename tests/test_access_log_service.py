"""The access-log service over real gRPC: every batch is acknowledged, whatever is in it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from configs import SEED, body_of, snapshot_of
from log_batches import attempts, requests
from outcomes import decision_on
from routers import router_of

from extproc.servers.access_log import AccessLogService
from extproc.servers.router import WRITTEN_MAX, Router
from extproc.wire.access_log import METHOD, SERVICE

SNAPSHOT = snapshot_of(SEED)
SONNET = "anthropic/claude-sonnet-4"

Export = Callable[[bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def exporting(router: Router) -> AsyncIterator[Export]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((AccessLogService(router).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(f"/{SERVICE}/{METHOD}")
            yield lambda message: call(message, timeout=20)
    finally:
        await server.stop(None)


def exported(router: Router, *messages: bytes) -> None:
    async def run() -> None:
        async with exporting(router) as export:
            for message in messages:
                assert await export(message) == b""

    asyncio.run(run())


def decided(router: Router, request_id: str = "7d72-1", draw: int = 1) -> str:
    """A decision's record as it travels with its request."""
    decision = decision_on(SNAPSHOT, draw=draw)
    return router.decided(request_id, decision, 143).decode()


def entries(router: Router, kind: str) -> float | None:
    name = "extproc_access_log_entries_total"
    return router.metrics.registry.get_sample_value(name, {"kind": kind})


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def router(log: Path) -> Router:
    return router_of(SNAPSHOT, log)


def test_a_request_that_ended_is_written_with_its_outcome_before_it_is_acknowledged(
    router: Router, log: Path
) -> None:
    record = decided(router)
    exported(router, requests({"record": record, "target": SONNET}))
    (told,) = lines(log)
    assert {name: told[name] for name in json.loads(record)} == json.loads(record)
    assert told["outcome"] == {
        "target": SONNET,
        "attempts": 1,
        "status": 200,
        "ttfb_ms": 320.0,
        "duration_ms": 1850.0,
        "usage": {
            "input_tokens": 800,
            "output_tokens": 200,
            "cache_read_tokens": 500,
            "reasoning_tokens": 50,
        },
        "cost_usd": told["outcome"]["cost_usd"],
        "reported_model": "gpt-4o-2024-08-06",
    }


def test_a_replica_that_decided_nothing_writes_the_record_all_the_same(log: Path) -> None:
    record = decided(router_of(SNAPSHOT))
    exported(router_of(SNAPSHOT, log), requests({"record": record, "target": SONNET}))
    assert [told["id"] for told in lines(log)] == [json.loads(record)["id"]]


def test_what_is_told_twice_is_written_once_and_counted(router: Router, log: Path) -> None:
    entry = {"record": decided(router), "target": SONNET}
    exported(router, requests(entry), requests(entry, entry))
    assert len(lines(log)) == 1
    assert entries(router, "duplicate") == 2


def test_what_the_process_before_this_one_wrote_is_not_written_again(log: Path) -> None:
    before = router_of(SNAPSHOT, log)
    entry = {"record": decided(before), "target": SONNET}
    exported(before, requests(entry))
    exported(router_of(SNAPSHOT, log), requests(entry))
    assert len(lines(log)) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {"record": "no json"},
        {"record": "{}"},
        {"record": '{"id": 3, "config": [], "estimate": 7}'},
        {"record": "-"},
        {"status": "secret-of-a-client"},
    ],
)
def test_a_bad_entry_costs_its_batch_nothing_and_is_not_repeated_in_the_log(
    entry: dict[str, str], router: Router, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"record": decided(router), "target": SONNET}
    exported(router, requests(entry, good))
    assert len(lines(log)) == 1
    assert entries(router, "unreadable") == 1
    assert "secret-of" not in caplog.text


def test_what_is_no_batch_is_refused_and_the_next_is_taken(router: Router, log: Path) -> None:
    async def run() -> None:
        async with exporting(router) as export:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await export(b"\xff\xff\xff")
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await export(requests({"record": decided(router), "target": SONNET}))

    asyncio.run(run())
    assert len(lines(log)) == 1


def test_a_429_keeps_its_target_out_of_the_next_decision(router: Router) -> None:
    exported(router, attempts({"target": SONNET, "status": "429", "retry-after": "90"}))
    (told,) = [one for one in router.report() if one["target"] == SONNET]
    assert told["not_before"] is not None
    record = router.explain(body_of())
    chain = [link["target"] for link in record["chain"]]
    assert SONNET not in chain
    assert {"target": SONNET, "reason": "not_before"}.items() <= record["rejected"][0].items()


def test_attempts_at_targets_that_are_not_configured_leave_no_trace(router: Router) -> None:
    exported(router, attempts({"target": "nobody/nothing"}))
    name = "extproc_attempts_total"
    labels = {"target": "nobody/nothing", "result": "ok"}
    assert router.metrics.registry.get_sample_value(name, labels) is None


def test_a_breaker_that_a_config_closes_is_shown_closed(router: Router) -> None:
    def shown() -> float | None:
        registry = router.metrics.registry
        return registry.get_sample_value("extproc_breaker_state", {"target": SONNET})

    failed = {"target": SONNET, "status": "500"}
    exported(router, attempts(*(failed | {"request_id": f"r{i}"} for i in range(5))))
    assert shown() == 2
    router.use(snapshot_of(SEED.replace("enabled: true", "enabled: false")))
    assert shown() == 0


def test_an_outcome_is_priced_by_the_config_it_was_decided_under(router: Router, log: Path) -> None:
    record = decided(router)
    router.use(snapshot_of("routes: [{match: {default: true}, model: gpt-4o}]"))
    exported(router, requests({"record": record, "target": SONNET}))
    assert lines(log)[0]["outcome"]["cost_usd"] > 0


def test_the_memory_of_what_was_written_is_bounded() -> None:
    router = router_of(SNAPSHOT)
    for number in range(WRITTEN_MAX + 10):
        router._is_new(f"{number}")  # noqa: SLF001  65,000 real decisions would take a minute
    assert len(router._written) == WRITTEN_MAX  # noqa: SLF001

"""The ext_proc service as Envoy meets it: over real gRPC, in this process and in one of its own."""

import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc.aio
import httpx
import pytest
from configs import CATCH_ALL, CHAT, KEYS, body_of, snapshot_of
from grpc_health.v1 import health_pb2, health_pb2_grpc
from routers import router_of

from extproc.servers.access_log import AccessLogService
from extproc.servers.ext_proc import MESSAGE_OVERHEAD_BYTES_MAX, ExtProcService, channel_options
from extproc.servers.lean import LeanTransport
from extproc.snapshot import Snapshot
from extproc.wire.ext_proc import CODE_DETAILS, EXT_PROC, METHOD, SERVICE
from extproc.wire.pb.core_pb2 import HeaderMap, HeaderValue
from extproc.wire.pb.ext_proc_pb2 import (
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
)

_T = TypeVar("_T")

CANARY = "canary-8d2f"
TRANSPORT = "EXTPROC_TRANSPORT"
PROCESS = f"/{SERVICE}/{METHOD}"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def headers(path: str = CHAT, method: str = "POST", **more: str) -> bytes:
    pairs = {":method": method, ":path": path} | {k.replace("_", "-"): v for k, v in more.items()}
    values = [HeaderValue(key=key, raw_value=value.encode()) for key, value in pairs.items()]
    part = HttpHeaders(headers=HeaderMap(headers=values))
    return ProcessingRequest(request_headers=part).SerializeToString()


def body(content: bytes | None = None) -> bytes:
    part = HttpBody(body=body_of() if content is None else content, end_of_stream=True)
    return ProcessingRequest(request_body=part).SerializeToString()


def told(answer: bytes) -> str:
    """`proceed`, `forward`, or the status and code of an answer in Envoy's stead."""
    response = ProcessingResponse.FromString(answer)
    match response.WhichOneof("response"):
        case "request_headers":
            return "proceed"
        case "request_body":
            return "forward"
        case "immediate_response":
            immediate = response.immediate_response
            return f"{immediate.status.code} {json.loads(immediate.body)['error']['code']}"
        case other:
            return str(other)


# In this process


@pytest.fixture(params=["grpcio", "lean"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every rule here holds for both."""
    name: str = request.param
    monkeypatch.setenv(TRANSPORT, name)
    return name


ONCE = pytest.mark.parametrize("transport", ["grpcio"], indirect=True)
"""For what is over before a transport has begun."""


@contextlib.asynccontextmanager
async def serving(snapshot: Snapshot) -> AsyncIterator[grpc.aio.Channel]:
    over = serving_lean if os.environ[TRANSPORT] == "lean" else serving_grpcio
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with (
        over(snapshot) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel,
    ):
        yield channel


@contextlib.asynccontextmanager
async def serving_grpcio(snapshot: Snapshot) -> AsyncIterator[int]:
    options = channel_options(snapshot.body_bytes_max)
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((ExtProcService(router_of(snapshot)).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def serving_lean(snapshot: Snapshot) -> AsyncIterator[int]:
    router = router_of(snapshot)
    server = LeanTransport(
        ExtProcService(router),
        AccessLogService(router),
        message_bytes_max=snapshot.body_bytes_max + MESSAGE_OVERHEAD_BYTES_MAX,
    )
    server.bind("127.0.0.1:0")
    await server.start()
    try:
        yield server.ports[0]
    finally:
        await server.stop(None)


async def answers(channel: grpc.aio.Channel, *messages: bytes) -> list[str]:
    """What each message is answered with, one by one, as Envoy sends them; then the end."""
    call: Any = channel.stream_stream(PROCESS)(timeout=20)
    found = []
    for message in messages:
        await call.write(message)
        found.append(told(await call.read()))
    if found[-1] == "proceed":
        await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK
    return found


def with_service(use: Callable[[grpc.aio.Channel], Awaitable[_T]], config: str = CATCH_ALL) -> _T:
    async def run() -> _T:
        async with serving(snapshot_of(config)) as channel:
            return await use(channel)

    return asyncio.run(run())


EVERY_PATH: dict[str, tuple[list[bytes], list[str]]] = {
    "a request": ([headers(), body()], ["proceed", "forward"]),
    "a request that ends early": ([headers()], ["proceed"]),
    "the models": ([headers("/v1/models/nope", "GET")], ["404 model_not_found"]),
    "a wrong path": ([headers("/")], ["404 unknown_url"]),
    "a wrong method": ([headers(method="PUT")], ["405 method_not_supported"]),
    "a compressed body": ([headers(content_encoding="br")], ["415 unsupported_encoding"]),
    "a body that is none": ([headers(), body(b"{")], ["proceed", "400 invalid_body"]),
    "an empty body": ([headers(), body(b"")], ["proceed", "400 invalid_body"]),
    "an unknown model": ([headers(), body(body_of(model="x"))], ["proceed", "404 model_not_found"]),
    "no target": (
        [headers(), body(body_of(max_tokens=10**6))],
        ["proceed", "422 no_eligible_target"],
    ),
    "garbage": ([b"\xff\xff\xff"], ["500 router_error"]),
    "garbage for a body": ([headers(), b"\xff\xff\xff"], ["proceed", "500 router_error"]),
    "an empty message": ([b""], ["500 router_error"]),
    "a body first": ([body()], ["500 router_error"]),
    "headers twice": ([headers(), headers()], ["proceed", "500 router_error"]),
    "a response": (
        [ProcessingRequest(response_headers=HttpHeaders()).SerializeToString()],
        ["response_headers"],
    ),
    "a response to a request that was not decided on": (
        [headers(), ProcessingRequest(response_headers=HttpHeaders()).SerializeToString()],
        ["proceed", "response_headers"],
    ),
    "a response's body first": (
        [ProcessingRequest(response_body=HttpBody()).SerializeToString()],
        ["500 router_error"],
    ),
    "response trailers": (
        [ProcessingRequest(response_trailers=HttpTrailers()).SerializeToString()],
        ["500 router_error"],
    ),
    "trailers for a body": (
        [headers(), ProcessingRequest(request_trailers=HttpTrailers()).SerializeToString()],
        ["proceed", "500 router_error"],
    ),
}


def test_every_path_is_answered_once_per_message_and_then_ends() -> None:
    async def all_of_them(channel: grpc.aio.Channel) -> dict[str, list[str]]:
        return {name: await answers(channel, *sent) for name, (sent, _) in EVERY_PATH.items()}

    assert with_service(all_of_them) == {name: told for name, (_, told) in EVERY_PATH.items()}


@ONCE
def test_an_answer_that_took_no_decision_is_counted_by_its_status() -> None:
    async def count() -> float | None:
        router = router_of(snapshot_of(CATCH_ALL))
        service = ExtProcService(router)

        async def one() -> AsyncIterator[bytes]:
            yield headers("/nowhere")

        assert len([answer async for answer in service.process(one(), None)]) == 1
        name = "extproc_undecided_total"
        return router.metrics.registry.get_sample_value(name, {"status": "404"})

    assert asyncio.run(count()) == 1


def test_a_body_over_the_configs_limit_is_a_413_and_one_at_the_limit_is_none() -> None:
    frame = len(body_of(user=""))

    async def both(channel: grpc.aio.Channel) -> list[str]:
        fits, too_large = (body(body_of(user="x" * (size - frame))) for size in (1024, 1025))
        return [(await answers(channel, headers(), one))[1] for one in (fits, too_large)]

    found = with_service(both, "bodyBytesMax: 1KiB" + CATCH_ALL)
    assert found == ["forward", "413 request_too_large"]


def test_a_bug_is_a_500_and_a_place_in_the_log_without_the_payload(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: object, *_: object, **__: object) -> None:
        raise LookupError(f"no {CANARY} in {request!r}")

    monkeypatch.setattr("extproc.exchange.decide", broken)
    with caplog.at_level(logging.DEBUG):
        sent = [headers(x_secret=CANARY), body(body_of(user=CANARY))]
        found = with_service(lambda channel: answers(channel, *sent))
    assert found == ["proceed", "500 router_error"]
    (record,) = (one for one in caplog.records if one.levelno >= logging.ERROR)
    assert "LookupError" in record.getMessage()
    assert "exchange.py" in record.getMessage()
    assert "in broken" in record.getMessage()
    assert CANARY not in caplog.text


def test_a_bug_is_told_in_the_dialect_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError

    monkeypatch.setattr("extproc.exchange.decide", broken)

    async def error(channel: grpc.aio.Channel) -> dict[str, Any]:
        call: Any = channel.stream_stream(PROCESS)(timeout=20)
        for message in (headers("/v1/messages"), body(body_of(max_tokens=9))):
            await call.write(message)
            answer = ProcessingResponse.FromString(await call.read())
        assert answer.immediate_response.status.code == 500
        told: dict[str, Any] = json.loads(answer.immediate_response.body)
        return told

    found = with_service(error)
    assert (found["type"], found["error"]["type"]) == ("error", "api_error")


CLAUDE = """
providers: {claude: {api: anthropic, baseUrl: http://claude.test}}
models: {opus: {targets: [{provider: claude}], contextWindow: 90000, maxOutputTokens: 900}}
routes: [{match: {default: true}, model: opus}]
"""


def response_headers(status: str, *, end_of_stream: bool = False) -> bytes:
    pairs = {":status": status, "content-type": "application/json"}
    pairs["x-router-target"] = "claude/opus"
    values = [HeaderValue(key=key, raw_value=value.encode()) for key, value in pairs.items()]
    part = HttpHeaders(headers=HeaderMap(headers=values), end_of_stream=end_of_stream)
    request = ProcessingRequest(response_headers=part)
    request.attributes[EXT_PROC].update({CODE_DETAILS: "via_upstream"})
    return request.SerializeToString()


def response_body(content: bytes) -> bytes:
    part = HttpBody(body=content, end_of_stream=True)
    return ProcessingRequest(response_body=part).SerializeToString()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([response_headers("200"), response_body(b"{")], ["response_headers", "response_body"]),
        ([response_headers("429"), response_body(b"{}")], ["response_headers", "response_body"]),
        ([response_headers("500", end_of_stream=True)], ["500 upstream_error"]),
        (
            [response_headers("200"), response_headers("200")],
            ["response_headers", "500 router_error"],
        ),
    ],
)
def test_a_stream_stays_open_until_the_answer_in_another_dialect_is_over(
    messages: list[bytes], expected: list[str]
) -> None:
    sent = [headers(), body(), *messages]
    found = with_service(lambda channel: answers(channel, *sent), CLAUDE)
    assert found == ["proceed", "forward", *expected]


def test_an_answer_that_stands_for_a_targets_is_not_one_without_a_decision() -> None:
    async def count() -> float | None:
        router = router_of(snapshot_of(CLAUDE))
        stream = ExtProcService(router).open()
        for message in (headers(), body(), response_headers("500", end_of_stream=True)):
            stream.receive(message)
        assert stream.finished
        name = "extproc_undecided_total"
        return router.metrics.registry.get_sample_value(name, {"status": "500"})

    assert not asyncio.run(count())


SECRET = HttpBody(body=CANARY.encode())
UNSENT = {
    "garbage": [b"\xff" + CANARY.encode()],
    "a body first": [body(body_of(user=CANARY))],
    "headers twice": [headers(), headers(x_secret=CANARY)],
    "a response": [ProcessingRequest(response_body=SECRET).SerializeToString()],
}


@pytest.mark.parametrize("name", UNSENT)
def test_what_envoy_would_not_send_is_logged_without_the_payload(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with_service(lambda channel: answers(channel, *UNSENT[name]))
    assert [one.levelname for one in caplog.records if one.name.startswith("extproc")] == ["ERROR"]
    assert CANARY not in caplog.text


def test_a_message_over_the_limit_ends_its_own_stream_and_no_other() -> None:
    async def use(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
        other: Any = channel.stream_stream(PROCESS)(timeout=20)
        await other.write(headers())
        assert told(await other.read()) == "proceed"

        large = body(b"x" * (2 * MESSAGE_OVERHEAD_BYTES_MAX))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers(channel, headers(), large)

        await other.write(body())
        return caught.value.code(), told(await other.read())

    found = with_service(use, "bodyBytesMax: 1KiB" + CATCH_ALL)
    assert found == (grpc.StatusCode.RESOURCE_EXHAUSTED, "forward")


def test_streams_side_by_side_do_not_meet() -> None:
    async def use(channel: grpc.aio.Channel) -> list[list[str]]:
        def one(model: str) -> Awaitable[list[str]]:
            return answers(channel, headers(), body(body_of(model=model)))

        return await asyncio.gather(*(one("gpt-4o" if i % 2 else "x") for i in range(100)))

    found = with_service(use)
    assert found[0::2] == [["proceed", "404 model_not_found"]] * 50
    assert found[1::2] == [["proceed", "forward"]] * 50


# In a process of its own


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not pytest's own: a socket's path has room for a hundred characters.
    with tempfile.TemporaryDirectory(prefix="ext") as path:
        yield Path(path)


def carried(config: str) -> str:
    """`config`, with the transport of this test."""
    told = f"server: {{transport: {os.environ[TRANSPORT]}"
    return (
        config.replace("server: {", f"{told}, ") if "server:" in config else f"{told}}}\n{config}"
    )


class Router:
    """`extproc serve` in a process of its own, ended with the block at the latest."""

    def __init__(self, directory: Path, *listen: str, config: str = CATCH_ALL) -> None:
        (directory / "config.yaml").write_text(carried(config), "utf-8")
        self.listen = listen or (f"unix:{directory}/router.sock",)
        self.admin = f"http://127.0.0.1:{free_port()}"
        self._log = directory / "log"
        self._command = [
            *(sys.executable, "-m", "extproc", "serve", str(directory / "config.yaml")),
            *("--admin-port", self.admin.rpartition(":")[2]),
            *(flag for address in self.listen for flag in ("--listen", address)),
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=os.environ | KEYS
            )
        # Its socket is not there at once: try again sooner than after gRPC's second.
        soon = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.min_reconnect_backoff_ms", 20)]
        soon += [("grpc.max_reconnect_backoff_ms", 100)]
        self.channel = grpc.insecure_channel(self.listen[0], options=soon)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)
        self.check()
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    def check(self, service: str = "") -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        status: int = self.health.Check(request, timeout=20, wait_for_ready=True).status
        return status

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within_s: float) -> int:
        return self.process.wait(within_s)

    def log(self) -> str:
        return self._log.read_text("utf-8")


class Stream:
    """One exchange, message by message."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: Any = channel.stream_stream(PROCESS)
        self._answers = call(iter(self._messages.get, None), timeout=20)

    def answer(self, message: bytes) -> str:
        self._messages.put(message)
        return told(next(self._answers))

    def end(self) -> None:
        self._messages.put(None)


def watched(router: Router, service: str) -> Generator[int]:
    watch = router.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=20)
    try:
        yield from (answer.status for answer in watch)
    finally:
        watch.cancel()


def test_on_sigterm_open_streams_finish_new_ones_are_refused_and_the_process_leaves(
    directory: Path,
) -> None:
    with Router(directory) as router:
        healths = [watched(router, service) for service in ("", SERVICE)]
        assert [next(health) for health in healths] == [SERVING, SERVING]
        assert httpx.get(f"{router.admin}/readyz", trust_env=False).status_code == 200
        stream = Stream(router.channel)
        assert stream.answer(headers()) == "proceed"

        router.terminate()
        assert [next(health) for health in healths] == [NOT_SERVING, NOT_SERVING]
        for health in healths:
            health.close()
        assert httpx.get(f"{router.admin}/readyz", trust_env=False).status_code == 503
        assert httpx.get(f"{router.admin}/healthz", trust_env=False).status_code == 200
        with pytest.raises(grpc.RpcError):
            Stream(router.channel).answer(headers())
        assert router.process.poll() is None

        assert stream.answer(body()) == "forward"
        stream.end()
        assert router.ended(within_s=5) == 0
        assert "Traceback" not in router.log()


def test_a_second_sigterm_ends_it_at_once(directory: Path) -> None:
    with Router(directory) as router:
        health = watched(router, "")
        assert next(health) == SERVING
        stream = Stream(router.channel)
        assert stream.answer(headers()) == "proceed"
        router.terminate()
        assert next(health) == NOT_SERVING
        with pytest.raises(subprocess.TimeoutExpired):
            router.ended(within_s=0.3)
        router.terminate()
        assert router.ended(within_s=5) == 0
        with pytest.raises(grpc.RpcError):
            stream.answer(body())
        assert "Traceback" not in router.log()


def test_the_drain_ends_when_its_time_is_up(directory: Path) -> None:
    config = "server: {drainTimeout: 200ms}" + CATCH_ALL
    with Router(directory, config=config) as router:
        stream = Stream(router.channel)
        assert stream.answer(headers()) == "proceed"
        router.terminate()
        assert router.ended(within_s=5) == 0
        stream.end()


@ONCE
def test_with_nothing_open_it_leaves_at_once_on_either_signal(directory: Path) -> None:
    with Router(directory) as router:
        router.process.send_signal(signal.SIGINT)
        assert router.ended(within_s=5) == 0
        assert "Traceback" not in router.log()


def test_it_listens_on_every_address_given_and_again_after_it_was_killed(directory: Path) -> None:
    addresses = (f"unix:{directory}/a.sock", f"127.0.0.1:{free_port()}")
    for _ in range(2):
        with Router(directory, *addresses) as router:
            for address in addresses:
                with grpc.insecure_channel(address) as channel:
                    stream = Stream(channel)
                    assert stream.answer(headers()) == "proceed"
                    assert stream.answer(body()) == "forward"
            router.process.kill()


def serve(
    *flags: str, directory: Path, config: str = CATCH_ALL, within_s: float = 20
) -> tuple[int, list[str]]:
    """The exit status and the lines printed by a `serve` that does not come up."""
    (directory / "config.yaml").write_text(carried(config), "utf-8")
    command = [sys.executable, "-m", "extproc", "serve", str(directory / "config.yaml"), *flags]
    env = os.environ | KEYS
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=within_s, env=env, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_a_port_that_is_taken_is_a_1_and_ends_with_a_line_that_says_so(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = serve("--listen", address, "--admin-port", "0", directory=directory)
    assert status == 1
    assert lines[-1] == f"can't listen on {address}: Address already in use"
    assert not any("Traceback" in line for line in lines)


@ONCE
def test_a_port_that_is_taken_is_one_line_and_no_more(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _, lines = serve("--listen", address, "--admin-port", "0", directory=directory)
    assert len(lines) == 1


@ONCE
def test_an_admin_port_that_is_taken_is_one_line_and_a_1(directory: Path) -> None:
    unix = f"unix:{directory}/router.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, lines = serve("--listen", unix, "--admin-port", port, directory=directory)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(f"can't listen on 127.0.0.1:{port}: ")


@ONCE
def test_a_config_that_does_not_compile_is_a_1_and_nothing_listens(directory: Path) -> None:
    status, lines = serve(directory=directory, config="routes: []")
    assert status == 1
    assert lines == ["routes: no catch-all; end with a route that matches `default: true`"]


@ONCE
@pytest.mark.parametrize("flag", ["--admin-port", "--listen"])
def test_a_port_that_is_none_is_told(flag: str, directory: Path) -> None:
    port = 65536 + free_port()
    admin_port = port if flag == "--admin-port" else 0
    listen = f"127.0.0.1:{port}" if flag == "--listen" else f"unix:{directory}/router.sock"
    flags = ("--admin-port", str(admin_port), "--listen", listen)
    status, _ = serve(*flags, directory=directory, within_s=2)
    assert status in {1, 2}


def test_a_socket_that_is_in_use_is_told(directory: Path) -> None:
    with Router(directory) as router:
        flags = ("--listen", router.listen[0], "--admin-port", "0")
        status, _ = serve(*flags, directory=directory, within_s=5)
        assert status == 1


def test_who_watches_its_health_does_not_hold_it_up(directory: Path) -> None:
    with Router(directory) as router:
        health = watched(router, "")
        assert next(health) == SERVING
        router.terminate()
        assert next(health) == NOT_SERVING
        assert router.ended(within_s=1) == 0

"""The lean transport over real sockets, as gRPC's own client sees it and as rude ones do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc.aio
import pytest
from configs import CATCH_ALL, SEED, snapshot_of
from grpc_health.v1 import health_pb2, health_pb2_grpc
from http2_peers import (
    PREFACE,
    REQUEST,
    data,
    data_of,
    fields_of,
    frame,
    frames_of,
    headers,
    reset,
    settings,
    window_update,
)
from log_batches import attempts
from routers import router_of
from test_ext_proc_service import PROCESS, body, told
from test_ext_proc_service import headers as http_headers

from extproc.http2 import ErrorCode, Limits
from extproc.http2.messages import framed
from extproc.http2.statuses import Status
from extproc.servers import calls, lean
from extproc.servers.access_log import AccessLogService
from extproc.servers.calls import RpcError, Unary
from extproc.servers.ext_proc import ExtProcService
from extproc.servers.lean import LeanTransport
from extproc.servers.transport import BindError
from extproc.wire import access_log as logs

_T = TypeVar("_T")

EXPORT = f"/{logs.SERVICE}/{logs.METHOD}"
ASKED = {**REQUEST, ":path": PROCESS}
CANARY = "canary-8d2f"
HELLO = PREFACE + settings()


def transport(**options: Any) -> LeanTransport:  # noqa: ANN401  as LeanTransport takes them
    router = router_of(snapshot_of(CATCH_ALL))
    return LeanTransport(ExtProcService(router), AccessLogService(router), **options)


@contextlib.asynccontextmanager
async def listening(server: LeanTransport) -> AsyncIterator[int]:
    server.bind("127.0.0.1:0")
    await server.start()
    try:
        yield server.ports[0]
    finally:
        await server.stop(None)


def with_channel(server: LeanTransport, use: Callable[[grpc.aio.Channel], Awaitable[_T]]) -> _T:
    """What gRPC's client sees."""

    async def run() -> _T:
        async with (
            listening(server) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            return await use(channel)

    return asyncio.run(run())


class Peer:
    """A client that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def read(self, enough: Callable[[bytes], object]) -> bytes:
        """All that came so far, once it is enough or the connection is closed."""
        async with asyncio.timeout(10):
            while not enough(self.received):
                more = await self.reader.read(65_536)
                if not more:
                    break
                self.received += more
        return self.received

    async def read_frame(self, name: str) -> bytes:
        return await self.read(
            lambda got: any(type(one).__name__ == f"{name}Frame" for one in whole_frames(got))
        )


def whole_frames(output: bytes) -> list[Any]:
    end = 0
    while len(output) - end >= 9 and end + 9 + int.from_bytes(output[end : end + 3]) <= len(output):
        end += 9 + int.from_bytes(output[end : end + 3])
    return list(frames_of(output[:end]))


def with_peer(server: LeanTransport, use: Callable[[Peer], Awaitable[_T]]) -> _T:
    """What a client sees that has greeted."""

    async def run() -> _T:
        async with listening(server) as port:
            peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
            peer.send(HELLO)
            try:
                return await use(peer)
            finally:
                peer.writer.transport.abort()

    return asyncio.run(run())


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


# As gRPC's client sees it.


def unary(path: str, message: bytes = b"") -> Callable[[grpc.aio.Channel], Any]:
    async def use(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str | None]:
        call: Any = channel.unary_unary(path)
        return await failure(call(message, timeout=10))

    return use


def test_an_unknown_method_is_not_implemented() -> None:
    assert with_channel(transport(), unary("/no.Such/Method"))[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_batch_that_is_none_is_an_invalid_argument() -> None:
    found = with_channel(transport(), unary(EXPORT, b"\xff\xff"))
    assert found == (grpc.StatusCode.INVALID_ARGUMENT, "not an OTLP log export")


def test_a_batch_of_the_access_log_is_acknowledged() -> None:
    router = router_of(snapshot_of(SEED))
    server = LeanTransport(ExtProcService(router), AccessLogService(router))

    async def use(channel: grpc.aio.Channel) -> bytes:
        call: Any = channel.unary_unary(EXPORT)
        found: bytes = await call(attempts({}), timeout=10)
        return found

    assert with_channel(server, use) == logs.TAKEN
    name = "extproc_access_log_entries_total"
    assert router.metrics.registry.get_sample_value(name, {"kind": "attempt"}) == 1


def with_handler(handler: Unary) -> LeanTransport:
    server = transport()
    server.services.unary = {b"/x.Y/Z": handler}
    return server


def test_a_call_that_fails_says_so_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_message: bytes) -> bytes:
        raise LookupError(CANARY)

    found = with_channel(with_handler(broken), unary("/x.Y/Z"))
    assert found == (grpc.StatusCode.UNKNOWN, "the router failed")
    assert "LookupError" in caplog.text
    assert CANARY not in caplog.text


def test_a_status_says_anything_in_any_language() -> None:
    said = "50 % of größe\n"

    async def refusing(_message: bytes) -> bytes:
        raise RpcError(Status.UNAVAILABLE, said)

    found = with_channel(with_handler(refusing), unary("/x.Y/Z"))
    assert found == (grpc.StatusCode.UNAVAILABLE, said)


def test_a_client_that_leaves_ends_its_call() -> None:
    async def run() -> bool:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow(_message: bytes) -> bytes:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()
            return b""

        server = with_handler(slow)
        async with (
            listening(server) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            method: Any = channel.unary_unary("/x.Y/Z")
            call = method(b"", timeout=10)
            await begun.wait()
            call.cancel()
            async with asyncio.timeout(10):
                await ended.wait()
        return server.services.open == 0

    assert asyncio.run(run())


def test_health_is_told_and_watched() -> None:
    server = transport()

    async def use(channel: grpc.aio.Channel) -> list[Any]:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest
        found = [(await stub.Check(request(), timeout=10)).status]
        watch = stub.Watch(request(), timeout=10)
        found.append((await watch.read()).status)
        await server.set_serving(serving=True)
        found.append((await watch.read()).status)
        watch.cancel()
        found.append((await stub.Watch(request(service="x"), timeout=10).read()).status)
        found.append(await failure(stub.Check(request(service="x"), timeout=10)))
        return found

    told = health_pb2.HealthCheckResponse
    assert with_channel(server, use) == [
        *(told.NOT_SERVING, told.NOT_SERVING, told.SERVING, told.SERVICE_UNKNOWN),
        (grpc.StatusCode.NOT_FOUND, "no such service"),
    ]


def test_a_stream_of_large_messages_is_answered_through_the_clients_windows() -> None:
    async def use(channel: grpc.aio.Channel) -> str:
        call: Any = channel.stream_stream(PROCESS)(timeout=20)
        await call.write(http_headers())
        await call.read()
        await call.write(body(b"x" * 3_000_000))
        return told(await call.read())

    assert with_channel(transport(), use).startswith("400")


# As others see it.


def ended(got: bytes) -> bool:
    return any("END_STREAM" in one.flags for one in whole_frames(got) if one.stream_id)


@pytest.mark.parametrize(
    ("fields", "told_by"),
    [
        ({":method": "GET"}, {":status": "405"}),
        ({"content-type": "application/json"}, {":status": "415"}),
        ({"content-type": "application/grpcs"}, {":status": "415"}),
        ({"content-type": "application/grpc+proto", ":path": "/x"}, {"grpc-status": "12"}),
        ({"content-type": "application/grpc; x=y", ":path": "/x"}, {"grpc-status": "12"}),
    ],
)
def test_what_is_no_call_is_answered(fields: dict[str, str], told_by: dict[str, str]) -> None:
    async def use(peer: Peer) -> bytes:
        peer.send(headers(1, (ASKED | fields).items(), "END_STREAM"))
        return await peer.read(ended)

    (found,) = fields_of(with_peer(transport(), use))
    assert found.items() >= told_by.items()


BROKEN_CALLS: dict[str, tuple[str, list[bytes], str]] = {
    "compressed": (PROCESS, [data(1, b"\1\0\0\0\1x")], "12"),
    "too large": (PROCESS, [data(1, b"\0\xff\xff\xff\xff")], "8"),
    "cut off": (PROCESS, [data(1, b"\0\0\0\0\5ab", "END_STREAM")], "13"),
    "no message": (EXPORT, [data(1, b"", "END_STREAM")], "13"),
    "two messages": (EXPORT, [data(1, framed(b"") * 2, "END_STREAM")], "13"),
    "no health check": (
        "/grpc.health.v1.Health/Check",
        [data(1, framed(b"\xff"), "END_STREAM")],
        "3",
    ),
    "no health watch": (
        "/grpc.health.v1.Health/Watch",
        [data(1, framed(b"\xff"), "END_STREAM")],
        "3",
    ),
    "nothing": (PROCESS, [data(1, b"", "END_STREAM")], "0"),
}


@pytest.mark.parametrize("name", BROKEN_CALLS)
def test_a_broken_call_ends_with_its_status(name: str) -> None:
    path, sent, status = BROKEN_CALLS[name]
    server = transport(message_bytes_max=1000)

    async def use(peer: Peer) -> bytes:
        peer.send(headers(1, (ASKED | {":path": path}).items()), *sent)
        return await peer.read(ended)

    (found,) = fields_of(with_peer(server, use))
    assert found["grpc-status"] == status
    assert server.services.open == 0


def test_large_messages_are_refused_when_too_much_is_held_already() -> None:
    server = transport()
    server.services.held_bytes_max = 10_000
    part = b"\0\0\1\0\0" + b"x" * 4000

    async def use(peer: Peer) -> list[str]:
        for stream_id in (1, 3, 5):
            peer.send(headers(stream_id, ASKED.items()), data(stream_id, part))
        refused = await peer.read(ended)
        held = server.services.held_bytes
        peer.send(reset(1), data(3, b"x" * (65_536 - 4000)))
        await peer.read_frame("Data")
        return [fields_of(refused)[0]["grpc-status"], str(held), str(server.services.held_bytes)]

    assert with_peer(server, use) == ["8", "8010", "0"]
    assert server.services.open == 0


def test_what_one_read_brings_is_answered_in_one_write() -> None:
    async def use(peer: Peer) -> bytes:
        await peer.read_frame("Settings")
        peer.received = b""
        message = framed(http_headers())
        for stream_id in range(1, 41, 2):
            peer.send(headers(stream_id, ASKED.items()), data(stream_id, message))
        first = await peer.reader.read(65_536)
        if len(whole_frames(first)) < 40:  # the settings' acknowledgement came by itself
            first += await peer.reader.read(65_536)
        return first

    found = with_peer(transport(), use)
    assert len([one for one in whole_frames(found) if type(one).__name__ == "DataFrame"]) == 20


def test_who_has_shut_its_side_is_still_answered() -> None:
    async def use(peer: Peer) -> bytes:
        message = framed(http_headers("/nowhere"))
        peer.send(headers(1, ASKED.items()), data(1, message, "END_STREAM"))
        peer.writer.write_eof()
        return await peer.read(lambda _got: False)

    answer = data_of(with_peer(transport(), use), 1)
    assert told(answer[5:]) == "404 unknown_url"


def test_calls_beyond_the_limit_are_refused_on_every_connection() -> None:
    server = transport(calls_max=2)

    async def run() -> list[str]:
        async with listening(server) as port:
            peers = [Peer(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(2)]
            for peer in peers:
                peer.send(HELLO, headers(1, ASKED.items()), data(1, framed(http_headers())))
                await peer.read_frame("Data")
            peers[0].send(headers(3, ASKED.items()))
            got = await peers[0].read_frame("RstStream")
            code = whole_frames(got)[-1].error_code
            peers[1].send(reset(1))
            peers[0].received = b""
            peers[0].send(headers(5, ASKED.items()), data(5, framed(http_headers())))
            await peers[0].read_frame("Data")
            calls = server.services.open
            for peer in peers:
                peer.writer.transport.abort()
            return [ErrorCode(code).name, str(calls)]

    assert asyncio.run(run()) == ["REFUSED_STREAM", "2"]
    assert server.services.open == 0


def test_a_client_that_is_gone_leaves_nothing_open() -> None:
    server = transport()

    async def use(peer: Peer) -> None:
        for stream_id in (1, 3):
            peer.send(headers(stream_id, ASKED.items()), data(stream_id, framed(http_headers())))
        await peer.read_frame("Data")
        peer.writer.transport.abort()
        async with asyncio.timeout(10):
            await server.services.exchanges.until_idle()

    with_peer(server, use)
    assert server.services.open == 0


def test_what_was_given_up_before_it_was_read_is_not_decided() -> None:
    router = router_of(snapshot_of(CATCH_ALL))
    server = LeanTransport(ExtProcService(router), AccessLogService(router))

    async def use(peer: Peer) -> int:
        for stream_id in range(1, 21, 2):
            peer.send(
                headers(stream_id, ASKED.items()),
                data(stream_id, framed(http_headers("/nowhere"))),
                reset(stream_id),
            )
        peer.send(headers(21, ASKED.items()), data(21, framed(http_headers("/nowhere"))))
        return len(data_of(await peer.read_frame("Data"), 21))

    assert with_peer(server, use)
    name = "extproc_undecided_total"
    assert router.metrics.registry.get_sample_value(name, {"status": "404"}) == 1


def test_who_does_not_greet_is_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "GREETING_S", 0.05)

    async def run() -> None:
        async with listening(transport()) as port, asyncio.timeout(10):
            silent, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionResetError):
                await silent.read(-1)
            writer.close()

    asyncio.run(run())


def test_who_breaks_the_protocol_is_told_why_and_shown_out() -> None:
    async def use(peer: Peer) -> bytes:
        peer.send(frame(6, 0, 0, b"short"))
        return await peer.read(lambda _got: False)

    last = whole_frames(with_peer(transport(), use))[-1]
    assert (type(last).__name__, last.error_code) == ("GoAwayFrame", ErrorCode.FRAME_SIZE_ERROR)


def test_of_who_does_not_read_nothing_more_is_read() -> None:
    """Its requests then wait in its own buffers, and take no memory here."""
    server = transport(limits=Limits(idle_frames_max=10**9))
    pings = frame(6, 0, 0, b"12345678") * 10_000

    async def run() -> int:
        async with listening(server) as port:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.setblocking(False)  # noqa: FBT003  that is how sockets have it
                loop = asyncio.get_running_loop()
                await loop.sock_connect(deaf, ("127.0.0.1", port))
                sent = 0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await loop.sock_sendall(deaf, HELLO)
                        for _ in range(1000):
                            async with asyncio.timeout(0.3):
                                await loop.sock_sendall(deaf, pings)
                            sent += len(pings)
                return sent

    assert asyncio.run(run()) < 100 * 2**20


def test_answers_wait_for_the_window_and_end_in_their_order() -> None:
    async def use(peer: Peer) -> bytes:
        peer.send(settings({4: 10}), headers(1, ASKED.items()))
        peer.send(data(1, framed(http_headers("/nowhere"))))
        await peer.read_frame("Data")
        peer.send(window_update(1, 10_000))
        return await peer.read_frame("RstStream")

    got = with_peer(transport(), use)
    assert told(data_of(got, 1)[5:]) == "404 unknown_url"
    assert [type(one).__name__ for one in whole_frames(got)][-2:] == [
        "HeadersFrame",
        "RstStreamFrame",
    ]


def test_a_bug_closes_its_connection_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise LookupError(CANARY)

    monkeypatch.setattr(calls, "MessageReader", broken)

    async def use(peer: Peer) -> bytes:
        peer.send(headers(1, ASKED.items()))
        with contextlib.suppress(ConnectionResetError):
            await peer.read(lambda _got: False)
        return peer.received

    with_peer(transport(), use)
    assert "LookupError on a connection" in caplog.text
    assert CANARY not in caplog.text


# Beginning and end.


def test_a_drain_lets_the_open_ones_finish_and_then_closes() -> None:
    server = transport()

    async def use(peer: Peer) -> list[str]:
        peer.send(headers(1, ASKED.items()), data(1, framed(http_headers())))
        await peer.read_frame("Data")
        stopping = asyncio.create_task(server.stop(20.0))
        await peer.read_frame("GoAway")
        peer.send(headers(3, ASKED.items()), data(3, framed(http_headers())))  # before it knew
        peer.send(frame(6, 1, 0, b"draining"))
        peer.send(data(1, framed(body()), "END_STREAM"), data(3, framed(body()), "END_STREAM"))
        got = await peer.read(lambda _got: False)
        await stopping
        return [type(one).__name__ for one in whole_frames(got) if "END_STREAM" in one.flags]

    assert with_peer(server, use) == ["HeadersFrame"] * 2


def test_when_its_time_is_up_a_drain_ends() -> None:
    server = transport()

    async def use(peer: Peer) -> bytes:
        peer.send(headers(1, ASKED.items()), data(1, framed(http_headers())))
        await peer.read_frame("Data")
        await server.stop(0.05)
        return await peer.read(lambda _got: False)

    with_peer(server, use)
    assert server.services.open == 0


@pytest.mark.parametrize("address", ["localhost:0", "[::1]:0", "127.0.0.1:0"])
def test_it_listens_on_what_a_name_stands_for(address: str) -> None:
    async def run() -> int:
        server = transport()
        server.bind(address)
        await server.start()
        port = server.ports[0]
        family = socket.AF_INET6 if ":" in address[:2] or "[" in address else socket.AF_INET
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        if address.startswith("localhost"):
            host = "localhost"
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await server.stop(None)
        return port

    assert asyncio.run(run())


@pytest.mark.parametrize("address", ["no.such.host.invalid:1", "unix:/no/such/folder/socket"])
def test_where_it_can_not_listen_is_told(address: str) -> None:
    with pytest.raises(BindError, match=f"can't listen on {address}: "):
        transport().bind(address)


def test_a_socket_file_goes_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def run() -> bool:
        server = transport()
        server.bind(f"unix:{path}")
        await server.start()
        there = path.is_socket()
        await server.stop(None)
        return there

    assert asyncio.run(run())
    assert not path.exists()

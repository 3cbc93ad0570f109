"""The router and Envoy may meet at a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

from extproc.envoy_config import UnixSocket

ROUTING = "routes: [{ match: { default: true }, model: claude-sonnet-4 }]"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    # Not pytest's own directory: the path of a socket has at most 107 bytes.
    with TemporaryDirectory() as short:
        router = UnixSocket(str(Path(short) / "router.sock"))
        with DataPlane(ROUTING, tmp_path_factory.mktemp("unix"), router=router) as plane:
            yield plane


def test_a_request_is_routed(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=HELLO)
    assert answer.status_code == 200
    assert answer.headers["x-router-model"] == "claude-sonnet-4"


def test_a_socket_left_by_a_killed_router_is_taken_over(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.kill_router()
    assert client.post(CHAT, json=HELLO).status_code == 503
    plane.start_router()
    eventually(plane.router_is_ready, "the router")
    eventually(lambda: client.post(CHAT, json=HELLO).is_success, "an answer")

"""An Envoy that somebody else configures, with what `extproc envoy --snippet` says to add."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from data_plane import (
    CHAT,
    HELLO,
    LOOPBACK,
    DataPlane,
    Program,
    envoy_binary,
    eventually,
    free_port,
)
from ruamel.yaml import YAML
from stand_ins import StandIns

ROUTING = """
firstByteTimeout: 0.5s
maxAttempts: 2
routes: [{ match: { default: true }, model: claude-sonnet-4, fallback: gpt-4o }]
"""
CODEC = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"

# As somebody may have written it, with a service of their own behind it.
THEIRS = """
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin} }} }} }}
static_resources:
  listeners:
  - name: theirs
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
HttpConnectionManager
          stat_prefix: theirs
          route_config:
            virtual_hosts:
            - name: theirs
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: theirs }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: theirs
    connect_timeout: 1s
    load_assignment:
      cluster_name: theirs
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {own} }} }} }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http_protocol_options: {{}} }}
        http_filters: [{{ name: codec, typed_config: {{ "@type": {codec} }} }}]
"""


def parsed(text: str) -> Any:  # noqa: ANN401  a YAML value
    return YAML(typ="safe", pure=True).load(text)


def with_snippet(theirs: Any, snippet: Any) -> Any:  # noqa: ANN401  YAML values
    """As the comments of the snippet say."""
    theirs |= {key: snippet["bootstrap"][key] for key in ("node", "dynamic_resources")}
    resources = theirs["static_resources"]
    resources["clusters"] += snippet["bootstrap"]["static_resources"]["clusters"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager |= snippet["http_connection_manager"]
    host = manager["route_config"]["virtual_hosts"][0]
    routes = snippet["virtual_host"]["routes"] + host["routes"]
    host |= snippet["virtual_host"] | {"routes": routes}
    return theirs


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("own")) as plane:
        yield plane


def test_their_envoy_routes_llm_requests_and_serves_theirs_as_before(
    plane: DataPlane, tmp_path: Path
) -> None:
    snippet = subprocess.run(
        [
            *(sys.executable, "-m", "extproc", "envoy", str(plane.config_file), "--snippet"),
            *("--as", str(plane.directory), "--router", plane.router_address),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    port, admin = free_port(), free_port()
    with StandIns("127.0.0.9") as own:
        places = {"port": port, "admin": admin, "host": own.host, "own": own.port}
        theirs = parsed(THEIRS.format(codec=CODEC, **places))
        file = tmp_path / "envoy.yaml"
        with file.open("w") as out:
            YAML().dump(with_snippet(theirs, parsed(snippet)), out)
        command = [str(envoy_binary()), "-c", str(file), "--disable-hot-restart"]
        done = subprocess.run(
            [*command, "--mode", "validate"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        envoy = Program(command, tmp_path / "envoy.log", {})
        try:
            url = f"http://{LOOPBACK}:{port}"
            with httpx.Client(base_url=url, trust_env=False, verify=False, timeout=10) as client:
                eventually(lambda: client.get("/healthz").is_success, "their Envoy")
                assert_routed(plane, client)
                theirs_too = client.post("/theirs/v1/completions", json={}, headers=SECRET)
                assert theirs_too.status_code == 404, "their service's own word, unrouted"
                assert "x-router-target" not in theirs_too.headers
                plane.reload(plane.config(ROUTING.replace("gpt-4o", "gemini-flash-2.0")))
                eventually(lambda: served(client) == "google/gemini-flash-2.0", "the new target")
        finally:
            envoy.end()


def served(client: httpx.Client) -> str:
    answer = client.post(CHAT, json=HELLO)
    return str(answer.headers.get("x-router-target"))


SECRET = {"authorization": "Bearer key-of-their-client"}


def assert_routed(plane: DataPlane, client: httpx.Client) -> None:
    plane.fault("anthropic", status=503)
    answer = client.post(CHAT, json=HELLO, headers=SECRET)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-router-target"] == "openai/gpt-4o"
    assert answer.headers["x-router-attempts"] == "2"
    (seen,) = plane.seen("openai")
    assert seen.headers["authorization"] == "Bearer key-of-openai"

"""Signing for AWS: what Envoy is told, and that a real one signs what it really sends."""

import http.server
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from configs import HOME
from data_plane import Program, envoy_binary, eventually, free_port
from signatures import is_signed_with

from extproc.envoy_config.extension import http_filter, set_header
from extproc.envoy_config.provider_filters import provider_filter
from extproc.envoy_config.rendering import Json, as_json, to_json
from extproc.envoy_config.secrets import place_of
from extproc.envoy_config.signing import (
    KeyFormatError,
    credentials_file_name,
    credentials_of,
    region_of,
    signs,
)
from extproc.envoy_config.upstream import UPSTREAM_CODEC
from extproc.vocabulary import Provider, ProviderName

BEDROCK = replace(HOME, credential_header="", credential_prefix="", has_credential=True)
ID = "AKIDEXAMPLE00001"
SECRET = "c2Vj/cmV0+x"
TOKEN = "dG9r/ZW4+x=="


@pytest.mark.parametrize(
    ("host", "region", "signed_for"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", None, "eu-west-1"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu", "eu-west-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", None, "us-gov-west-1"),
        ("vpce-0a1.bedrock-runtime.ap-south-1.vpce.amazonaws.com", None, "ap-south-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", None, "cn-north-1"),
        ("bedrock-runtime.eu-west-1.example.com", "eu-north-1", "eu-north-1"),
        ("bedrock-runtime.eu-west-1.amazonaws.com.example.com", None, "us-east-1"),
        ("127.0.0.1", "eu-north-1", "eu-north-1"),
        ("127.0.0.1", None, "us-east-1"),
    ],
)
def test_the_region_is_the_one_that_a_host_of_aws_names_else_the_providers(
    host: str, region: str | None, signed_for: str
) -> None:
    assert region_of(replace(BEDROCK, host=host, region=region)) == signed_for


def test_a_provider_signs_where_no_header_takes_its_key() -> None:
    assert signs(BEDROCK)
    assert not signs(replace(BEDROCK, has_credential=False))
    assert not signs(replace(BEDROCK, credential_header="authorization"))


def test_a_key_is_written_in_awss_own_format() -> None:
    assert credentials_of(f"{ID}:{SECRET}") == (
        f"[default]\naws_access_key_id={ID}\naws_secret_access_key={SECRET}\n"
    )
    assert credentials_of(f"{ID}:{SECRET}:{TOKEN}").endswith(f"aws_session_token={TOKEN}\n")


@pytest.mark.parametrize(
    "key",
    [
        *("", ID, f"{ID}:", ":x", f"{ID}:x:", f"{ID}:x:y:z", f"{ID}:x\ny", f"{ID}:x y"),
        *(f"{ID[:15]}:x", f"{ID}{'0' * 113}:x", f"B{ID}:x", f"a{ID}:x", "Aż" + ID + ":x"),
    ],
)
def test_a_key_of_any_other_form_is_refused_without_its_content(key: str) -> None:
    with pytest.raises(KeyFormatError, match="ACCESS_KEY_ID") as raised:
        credentials_of(key)
    assert key == "" or key not in str(raised.value)


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def is_signed_with(self, secret: str) -> bool:
        return is_signed_with(secret, self.path, self.headers, self.body)


@dataclass
class Upstream:
    received: list[Received] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    found = Upstream()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.received.append(Received(self.path, headers, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def configuration(provider: Provider, secrets: Path, port: int, admin: int, upstream: int) -> Json:
    rewrite = """
        function envoy_on_request(handle)
          handle:headers():replace(":path", "/model/a.b-v1%3A0/converse")
          handle:headers():replace(":authority", "bedrock-runtime.eu-west-1.amazonaws.com")
          handle:body(true):setBytes('{"messages":[]}')
          handle:headers():replace("content-length", "15")
        end"""
    lua = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": rewrite},
    }
    signing = provider_filter([provider], "x-llm-provider", str(secrets))
    router = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "upstream_http_filters": [
            {"name": "rewrite", "typed_config": lua},
            as_json(http_filter("signing", signing)),
            as_json(UPSTREAM_CODEC),
        ],
    }
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "up"},
        "request_headers_to_add": [as_json(set_header("x-llm-provider", place_of(provider)))],
    }
    connections = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": connections,
    }
    endpoint = {"endpoint": {"address": at(upstream)}}
    return {
        "admin": {"address": at(admin)},
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "listeners": [{"address": at(port), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [
                {
                    "name": "up",
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ],
        },
    }


def at(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def replace_file(path: Path, content: str) -> None:
    beside = path.with_name(".new")
    beside.write_text(content)
    beside.replace(path)


def test_envoy_signs_what_it_sends_with_the_newest_key(tmp_path: Path, upstream: Upstream) -> None:
    port, admin = free_port(), free_port()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    provider = replace(BEDROCK, name=ProviderName("bedrock"), region="eu-west-1")
    key_file = secrets / credentials_file_name(provider)
    key_file.write_text(credentials_of(f"{ID}:{SECRET}:{TOKEN}"))
    config = tmp_path / "envoy.json"
    config.write_text(to_json(configuration(provider, secrets, port, admin, upstream.port)))
    command = [
        str(envoy_binary()),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
    ]
    envoy = Program(command, tmp_path / "envoy.log", {})
    try:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        ready = f"http://127.0.0.1:{admin}/ready"
        eventually(lambda: httpx.get(ready).status_code == 200, "Envoy is ready")

        httpx.post(url, json={"messages": ["Hello"]})
        (first,) = upstream.received
        assert first.path == "/model/a.b-v1%3A0/converse"
        assert first.body == b'{"messages":[]}'
        assert first.headers["x-amz-security-token"] == TOKEN
        assert f"Credential={ID}/" in first.headers["authorization"]
        assert "/eu-west-1/bedrock/aws4_request" in first.headers["authorization"]
        assert first.is_signed_with(SECRET)
        assert not first.is_signed_with("another")

        replace_file(key_file, credentials_of(f"{ID}:another"))

        def is_signed_anew() -> bool:
            httpx.post(url, json={})
            return upstream.received[-1].is_signed_with("another")

        eventually(is_signed_anew, "the new key signs")
        assert "x-amz-security-token" not in upstream.received[-1].headers
    finally:
        envoy.send(signal.SIGTERM)
        envoy.wait()

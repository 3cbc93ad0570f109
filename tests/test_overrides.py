"""What a client may ask of the router in headers, where the config allows it; and who it is."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from configs import CHAT, body_of, chain_of, snapshot_of

from extproc.exchange import read_and_decide
from extproc.policy.overrides import NAMES, Overrides, honoured, overrides_of
from extproc.record import record
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW, TargetView, View
from extproc.vocabulary import Decision, Reason, Refusal, TargetId

WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  south: { baseUrl: http://south.test/v1 }
models:
  cheap: { targets: [{provider: north}, {provider: south}], contextWindow: 9000,
           price: {inputPerMTok: 1, outputPerMTok: 1} }
  dear:  { targets: [{provider: south}], contextWindow: 9000,
           price: {inputPerMTok: 100, outputPerMTok: 100} }
  other: { targets: [{provider: north}], contextWindow: 9000 }
  far:   { targets: [{provider: south}], contextWindow: 9000,
           price: {inputPerMTok: 1, outputPerMTok: 1} }
aliases: { best: dear }
maxAttempts: 9
routes:
  - { name: strict, match: {path: /strict/*}, candidates: [cheap, dear, far],
      require: {costUsd: {max: 0.01}, latencyMs: {max: 500}} }
  - { name: coded, match: {taskType: code}, model: dear }
  - { name: billing, match: {app: "bill*"}, model: far, fallback: cheap }
  - { name: keyed, match: {app: "key-*"}, model: far, fallback: cheap }
  - { name: rest, match: {default: true}, candidates: [cheap, dear], fallback: far }
"""
EVERYTHING = "[" + ", ".join(NAMES) + "]"


@cache
def world(allow: str = EVERYTHING, more: str = "") -> Snapshot:
    return snapshot_of(f"{WORLD}overrides: {{allow: {allow}}}\n{more}")


def decided(
    headers: dict[str, str],
    snapshot: Snapshot | None = None,
    *,
    path: str = CHAT,
    seen: View = EMPTY_VIEW,
    **fields: object,
) -> Decision:
    """As a request that came in: with headers that are not allowed still in it."""
    found, _ = read_and_decide(
        path, headers, body_of(**fields), snapshot or world(), seen, now=0, draw=0
    )
    return found


def refused(headers: dict[str, str], **fields: Any) -> Refusal:  # noqa: ANN401  JSON
    refusal = decided(headers, **fields).refusal
    assert refusal
    return refusal


NORTH, SOUTH, DEAR, FAR = "north/cheap", "south/cheap", "south/dear", "south/far"


# What is said


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, Overrides()),
        ({"x-tier": "gold"}, Overrides()),
        ({"x-router-task": "code"}, Overrides(task="code")),
        ({"x-router-model": "dear"}, Overrides(model="dear")),  # type: ignore[arg-type]
        ({"x-router-avoid": "a"}, Overrides(avoid=frozenset("a"))),
        ({"x-router-avoid": " a, b/c ,,a,"}, Overrides(avoid=frozenset({"a", "b/c"}))),
        ({"x-router-avoid": ""}, Overrides()),
        ({"x-router-max-cost-usd": "0.5"}, Overrides(cost_usd_max=0.5)),
        ({"x-router-max-cost-usd": " 1e-3 "}, Overrides(cost_usd_max=0.001)),
        ({"x-router-max-latency-ms": "250"}, Overrides(latency_ms_max=250)),
        ({"x-router-no-fallback": "true"}, Overrides(no_fallback=True)),
        ({"x-router-no-fallback": "1"}, Overrides(no_fallback=True)),
        ({"x-router-no-fallback": "TRUE"}, Overrides(no_fallback=True)),
        ({"x-router-no-fallback": "false"}, Overrides()),
        ({"x-router-no-fallback": "0"}, Overrides()),
    ],
)
def test_headers_say_what_is_asked(headers: dict[str, str], asked: Overrides) -> None:
    assert overrides_of(headers) == asked


@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("x-router-max-cost-usd", v) for v in ("", "0", "-1", "nan", "inf", "-inf", "1e999")),
        *(("x-router-max-cost-usd", v) for v in ("cheap", "$1", "1,2", "1 2", "0x1")),
        *(("x-router-max-latency-ms", v) for v in ("", "0", "-1", "nan", "inf", "1s", "1,1")),
        *(("x-router-no-fallback", v) for v in ("", "yes", "no", "2", "true,true", "tru\u0435")),
        ("x-router-avoid", ",".join(f"m{i}" for i in range(33))),
        *(("x-router-task", v) for v in ("", "a b", "code,code", "x" * 65)),
    ],
)
def test_a_bad_value_is_a_400_that_names_the_header_and_no_more(header: str, value: str) -> None:
    refusal = refused({header: value})
    assert (refusal.status, refusal.kind) == (400, "invalid_request")
    assert f"`{header}`" in refusal.message
    assert len(value) < 3 or value not in refusal.message


def test_thirty_two_may_be_avoided() -> None:
    headers = {"x-router-avoid": ",".join(f"m{i}" for i in range(32))}
    assert chain_of(decided(headers)) == [NORTH, SOUTH, DEAR, FAR]


# What is allowed

ASKING = {
    "task": "code",
    "model": "far",
    "avoid": "north",
    "max-cost-usd": "0.001",
    "max-latency-ms": "5",
    "no-fallback": "true",
}
SEEN = View({TargetId(NORTH): TargetView(ttfb_ms=10)})


@pytest.mark.parametrize("name", NAMES)
def test_a_header_changes_the_decision_only_where_it_is_allowed(name: str) -> None:
    header = {f"x-router-{name}": ASKING[name]}
    others = "[" + ", ".join(n for n in NAMES if n != name) + "]"
    plain = decided({}, seen=SEEN)
    assert decided(header, world(others), seen=SEEN).chain == plain.chain
    assert decided(header, world(f"[{name}]"), seen=SEEN).chain != plain.chain


def test_the_task_alone_is_allowed_by_default() -> None:
    default = snapshot_of(WORLD)
    assert default.allowed_overrides == {"task"}
    asked = {f"x-router-{name}": value for name, value in ASKING.items()}
    decision = decided(asked, default)
    assert decision.route == "coded"
    assert chain_of(decision) == [DEAR]


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_value_of_a_header_that_is_not_allowed_is_no_mistake(name: str) -> None:
    assert not decided({f"x-router-{name}": "\xff, ,"}, world("[]")).refusal


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("x-router-app", True),
        ("x-router-task", True),
        ("x-router-model", False),
        ("x-router-avoid", False),
        ("x-router-tier", False),
        ("x-router-decision", False),
        ("x-router-", False),
        ("x-router", True),
        ("x-routers", True),
        ("x-tier", True),
        ("authorization", True),
    ],
)
def test_other_router_headers_are_gone_before_anything_reads_them(name: str, *, kept: bool) -> None:
    assert honoured({name: "v"}, {"task"}) == ({name: "v"} if kept else {})


def test_what_is_not_allowed_is_invisible_to_a_route_that_matches_headers() -> None:
    matching = WORLD.replace("path: /strict/*", "headers: {x-router-model: far}")
    for allow, route in (("[model]", "strict"), ("[]", "rest")):
        found = decided({"x-router-model": "far"}, _unchecked(matching, allow))
        assert found.route == route


def _unchecked(text: str, allow: str) -> Snapshot:
    """A config that was written for one list of overrides, run with another."""
    names = allow.strip("[]")
    snapshot = snapshot_of(f"{text}overrides: {{allow: [model]}}\n")
    return replace(snapshot, allowed_overrides=frozenset(filter(None, [names])))


# Model


@pytest.mark.parametrize(
    ("asked", "chain"),
    [
        ("far", [FAR]),
        ("dear", [DEAR, FAR]),
        ("best", [DEAR, FAR]),
        ("auto", [NORTH, SOUTH, DEAR, FAR]),
    ],
)
def test_a_model_named_in_the_header_is_pinned(asked: str, chain: list[str]) -> None:
    assert chain_of(decided({"x-router-model": asked})) == chain
    # Before what the payload asks for.
    assert chain_of(decided({"x-router-model": asked}, model="cheap")) == chain


def test_an_unknown_model_in_the_header_is_a_404_that_lists_what_there_is() -> None:
    refusal = refused({"x-router-model": "nobody-knows-it"}, model="far")
    assert (refusal.status, refusal.code) == (404, "model_not_found")
    assert "`nobody-knows-it`" in refusal.message
    assert "cheap, dear, far" in refusal.message


def test_the_record_tells_the_model_that_the_payload_asked_for() -> None:
    assert decided({"x-router-model": "dear"}, model="far").requested_model == "far"
    assert decided({"x-router-model": "dear"}).requested_model is None


# Avoid


@pytest.mark.parametrize(
    ("avoid", "chain"),
    [
        ("north/cheap", [SOUTH, DEAR, FAR]),
        ("north", [SOUTH, DEAR, FAR]),
        ("cheap", [DEAR, FAR]),
        ("dear, far", [NORTH, SOUTH]),
        ("south", [NORTH]),
        ("nobody-knows-it", [NORTH, SOUTH, DEAR, FAR]),
        ("nor", [NORTH, SOUTH, DEAR, FAR]),
        ("*", [NORTH, SOUTH, DEAR, FAR]),
    ],
)
def test_a_target_a_provider_or_a_model_can_be_avoided(avoid: str, chain: list[str]) -> None:
    decision = decided({"x-router-avoid": avoid})
    assert chain_of(decision) == chain
    assert {one.reason for one in decision.rejected} <= {Reason.AVOIDED}
    assert {one.target for one in decision.rejected} == {NORTH, SOUTH, DEAR, FAR} - {*chain}


def test_a_model_that_is_both_pinned_and_avoided_is_not_used() -> None:
    asked = {"x-router-model": "dear", "x-router-avoid": "dear"}
    assert chain_of(decided(asked)) == [FAR]


def test_to_avoid_everything_is_a_422() -> None:
    refusal = refused({"x-router-avoid": "north,south"})
    assert (refusal.status, refusal.code) == (422, "no_eligible_target")


# Ceilings

STRICT = "/strict/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "said", "chain"),
    [
        (CHAT, None, [NORTH, SOUTH, DEAR, FAR]),
        (CHAT, "0.01", [NORTH, SOUTH, FAR]),
        (CHAT, "0.0000001", []),
        (CHAT, "100", [NORTH, SOUTH, DEAR, FAR]),
        (STRICT, None, [NORTH, SOUTH, FAR]),
        (STRICT, "100", [NORTH, SOUTH, FAR]),  # the route's own ceiling holds
        (STRICT, "0.0000001", []),
    ],
)
def test_a_cost_ceiling_is_tightened_and_never_loosened(
    path: str, said: str | None, chain: list[str]
) -> None:
    headers = {} if said is None else {"x-router-max-cost-usd": said}
    decision = decided(headers, path=path)
    assert [c.target.id for c in decision.chain] == chain
    assert {one.reason for one in decision.rejected} <= {Reason.PRICE_CEILING}


@pytest.mark.parametrize(
    ("path", "said", "chain"),
    [
        (CHAT, None, [NORTH, SOUTH, DEAR, FAR]),
        (CHAT, "300", [NORTH, SOUTH, FAR]),
        (CHAT, "100", [SOUTH, FAR]),
        (CHAT, "1e9", [NORTH, SOUTH, DEAR, FAR]),
        (STRICT, None, [NORTH, SOUTH, FAR]),
        (STRICT, "1e9", [NORTH, SOUTH, FAR]),
        (STRICT, "100", [SOUTH, FAR]),
    ],
)
def test_a_latency_ceiling_is_tightened_and_never_loosened(
    path: str, said: str | None, chain: list[str]
) -> None:
    headers = {} if said is None else {"x-router-max-latency-ms": said}
    slow = {NORTH: 200.0, DEAR: 600.0}
    seen = View({TargetId(name): TargetView(ttfb_ms=ms) for name, ms in slow.items()})
    decision = decided(headers, path=path, seen=seen)
    assert [c.target.id for c in decision.chain] == chain


# No fallback


@pytest.mark.parametrize(
    ("headers", "fields", "chain"),
    [
        ({}, {}, [NORTH]),
        ({"x-router-avoid": "north"}, {}, [SOUTH]),
        ({}, {"model": "dear"}, [DEAR]),
        ({"x-router-model": "far"}, {}, [FAR]),
    ],
)
def test_without_fallback_there_is_one_attempt(
    headers: dict[str, str], fields: dict[str, Any], chain: list[str]
) -> None:
    assert chain_of(decided({"x-router-no-fallback": "true"} | headers, **fields)) == chain


def test_without_fallback_none_is_weighed() -> None:
    asked = {"x-router-no-fallback": "true", "x-router-avoid": "cheap,dear"}
    decision = decided(asked)
    assert decision.refusal
    assert FAR not in {c.target.id for c in decision.candidates}


# The app


def allowing(source: str) -> str:
    return f"apps: {{from: {source}, allow: {{billing: [far]}}}}\n"


@pytest.mark.parametrize(
    ("source", "headers", "app"),
    [
        ("x-router-app", {"x-router-app": "billing"}, "billing"),
        ("x-router-app", {}, None),
        ("x-router-app", {"x-router-app": ""}, None),
        ("x-router-app", {"x-router-app": "a" * 64}, "a" * 64),
        ("x-router-app", {"x-router-app": "a" * 65}, None),
        ("x-router-app", {"x-router-app": "a\x7f"}, None),
        ("x-consumer", {"x-consumer": "billing"}, "billing"),
        ("X-Consumer", {"x-consumer": "billing"}, "billing"),
        ("x-consumer", {"x-router-app": "billing"}, None),
        ("x-consumer", {"x-consumer": "billing", "x-router-app": "search"}, "billing"),
        ("x-consumer", {"x-consumer": "billing,billing"}, "billing"),
        ("x-consumer", {"x-consumer": "billing, billing,billing"}, "billing"),
        ("apiKey", {"x-router-app": "billing"}, None),
        ("apiKey", {}, None),
    ],
)
def test_the_app_is_what_the_configured_header_says(
    source: str, headers: dict[str, str], app: str | None
) -> None:
    decision = decided(headers, world(more=allowing(source)))
    assert decision.app == app
    assert decision.route == ("billing" if app == "billing" else "rest")
    assert chain_of(decision)[0] == (FAR if app == "billing" else NORTH)


def test_an_app_may_use_only_what_its_list_names_fallbacks_and_pins_included() -> None:
    snapshot = world(more=allowing("x-router-app"))
    billing = decided({"x-router-app": "billing"}, snapshot)
    assert chain_of(billing) == [FAR]
    assert {one.target: one.reason for one in billing.rejected} == {
        NORTH: Reason.APP_POLICY,
        SOUTH: Reason.APP_POLICY,
    }
    for headers, asked in (({}, "cheap"), ({"x-router-model": "cheap"}, None)):
        pinned = decided({"x-router-app": "billing"} | headers, snapshot, model=asked)
        assert pinned.refusal
        assert {one.reason for one in pinned.rejected} == {Reason.APP_POLICY}
    search = decided({"x-router-app": "search"}, snapshot)
    assert chain_of(search) == [NORTH, SOUTH, DEAR, FAR]


KEY = "sk-canary-4f1d-0123456789"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": "another"},
        {"authorization": f"Bearer {KEY},Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("source", ["apiKey", "api_key"])
def test_the_app_may_be_a_hash_of_the_api_key_and_never_the_key(
    headers: dict[str, str], source: str
) -> None:
    decision = decided(headers, world(more=f"apps: {{from: {source}}}"))
    assert decision.app == "key-" + sha256(KEY.encode()).hexdigest()[:12]
    assert decision.route == "keyed"
    for told in (repr(decision), repr(record(decision))):
        for part in pieces(KEY, 8):
            assert part not in told


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        ("x-consumer", {"x-consumer": "billing,search"}),
        ("x-consumer", {"x-consumer": "billing,"}),
        ("apiKey", {"authorization": f"Bearer {KEY},Bearer another"}),
    ],
)
def test_a_client_that_says_to_be_several_apps_is_refused_since_no_list_names_them_together(
    source: str, headers: dict[str, str]
) -> None:
    decision = decided(headers, world(more=allowing(source)))
    assert decision.refusal
    assert (decision.refusal.status, decision.refusal.code) == (400, "invalid_header")
    assert f"`{next(iter(headers))}`" in decision.refusal.message
    assert decision.app is None
    assert KEY not in repr(decision)


def test_a_key_may_hold_any_byte() -> None:
    decision = decided({"authorization": "Bearer \xff\u017c"}, world(more="apps: {from: apiKey}"))
    assert decision.app
    assert decision.app.startswith("key-")


def pieces(text: str, length: int) -> Iterable[str]:
    return (text[i : i + length] for i in range(len(text) - length + 1))

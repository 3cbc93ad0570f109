"""One exchange from its beginning to where it is sent on or refused; see `playbook`."""

import json
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from configs import CATCH_ALL, CHAT, SEED, asking_tokens, body_of, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import DRAW, NOW, Broke, Playbook, Refused, Sent, body, headers

from extproc.decide import decision_id
from extproc.dialects import openai_chat
from extproc.dialects.payload import Payload
from extproc.dialects.registry import CLIENTS
from extproc.exchange import (
    Answer,
    Event,
    Exchange,
    Proceed,
    Reply,
    RequestBody,
    RequestHeaders,
    answered,
)
from extproc.feature import Feature
from extproc.plan import Forward
from extproc.policy.draw import DRAW_BITS
from extproc.snapshot import GUARD_PREFIX, Snapshot, guard_name
from extproc.state.view import EMPTY_VIEW, Breaker, TargetView, View
from extproc.text.tokens import measure
from extproc.vocabulary import RequestedModel, Surface

CANARY = "canary-8d2f"

WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  south: { baseUrl: http://south.test/v1, firstByteTimeout: 45s }
  hasty: { baseUrl: http://hasty.test/v1, firstByteTimeout: 2500ms }
models:
  plain: { targets: [{provider: north}], contextWindow: 8000, capabilities: {tools: false} }
  twice: { targets: [{provider: north}, {provider: south, upstreamModel: twice}],
           contextWindow: 16000, capabilities: {tools: true} }
  other: { targets: [{provider: north, upstreamModel: "org/other-\\"1\\""}, {provider: hasty}],
           contextWindow: 32000, capabilities: {tools: true, vision: true} }
  quick: { targets: [{provider: hasty, upstreamModel: ż}], contextWindow: 64000,
           capabilities: {tools: true, vision: true, structuredOutput: true, reasoning: true} }
aliases: { best: other }
routes:
  - { name: twice, match: {path: /twice/*}, model: twice }
  - { name: hasty, match: {path: /hasty/*}, model: quick }
  - { name: south, match: {path: /south/*}, candidates: [twice, quick], fallback: plain }
  - { name: rest, match: {default: true}, candidates: [plain, twice, other], fallback: [quick] }
"""


@cache
def world(more: str = "") -> Snapshot:
    return snapshot_of(WORLD + more)


@cache
def seed() -> Snapshot:
    return snapshot_of(SEED)


# One way through

HAIKU_OR_FLASH = ("anthropic/claude-haiku-3", "google/gemini-flash-2.0")


def test_headers_then_body_then_on_to_the_targets() -> None:
    assert (
        Playbook(seed())
        >> headers(x_router_task="summarization")
        << Proceed()
        >> body()
        << Sent(*HAIKU_OR_FLASH, translated=HAIKU_OR_FLASH)
    )


def test_a_body_by_itself_is_not_taken_for_a_request() -> None:
    assert Playbook(seed()) >> body() << Broke(AssertionError)


def test_headers_are_not_taken_twice() -> None:
    assert Playbook(seed()) >> headers() << Proceed() >> headers() << Broke(AssertionError)


@pytest.mark.parametrize("after", [headers(), body()])
def test_nothing_is_taken_after_the_end(after: Event) -> None:
    assert (
        Playbook(seed())
        >> headers()
        << Proceed()
        >> body(model="gpt-4o-mini")
        << Sent("openai/gpt-4o-mini", "openai/gpt-4o")
        >> after
        << Broke(AssertionError)
    )
    assert (
        Playbook(seed())
        >> headers("/nowhere")
        << Refused(404, "unknown_url")
        >> after
        << Broke(AssertionError)
    )


# What is asked


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/team-a/v1/chat/completions",
        "/a/b.c/d-e/v1/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions?api-version=1",
        "/v1/chat/completions?a=/v1/models",
        "/v1/chat/completions?",
    ],
)
def test_chat_completions_are_taken_below_any_prefix_and_with_any_query(path: str) -> None:
    assert Playbook(seed()) >> headers(path) << Proceed()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions/x",
        "/v1/chat/completionsx",
        "/xv1/chat/completions",
        "//v1/chat/completions",
        "/v1/completions",
        "/v1/responses/resp_1",
        "/v1/responses/",
        "/v1/embeddings/x",
        "/v1/message",
        "/v1/messages/",
        "/v1/messages/count_tokens/x",
        "/v1/messages/batches",
        "/messages",
        "/V1/chat/completions",
        "/x?/v1/chat/completions",
        "/v1/modelsx",
        "v1/models",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_any_other_path_is_a_404_that_says_what_is_here(path: str, method: str) -> None:
    here = (
        "POST to /v1/chat/completions, /v1/responses, /v1/embeddings or /v1/messages, "
        "or GET /v1/models."
    )
    assert Playbook(seed()) >> headers(path, method) << Refused(404, "unknown_url", here)


def test_a_request_without_a_path_or_method_is_answered() -> None:
    assert Playbook(seed()) >> RequestHeaders({}, end_of_stream=True) << Refused(404, "unknown_url")
    assert (
        Playbook(seed())
        >> RequestHeaders({":path": CHAT}, end_of_stream=False)
        << Refused(405, "method_not_supported", "use POST")
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "post"])
def test_chat_completions_are_posted(method: str) -> None:
    expected = Refused(405, "method_not_supported", f"{method} is not supported here; use POST.")
    assert Playbook(seed()) >> headers(CHAT, method) << expected


@pytest.mark.parametrize(("path", "method"), [(CHAT, "POST"), ("/v1/models", "GET")])
def test_a_wrong_method_is_told_the_right_one(path: str, method: str) -> None:
    exchange = Exchange(seed(), lambda _: EMPTY_VIEW)
    answer = exchange.receive(headers(path, "PUT"), now=0, draw=0)
    assert isinstance(answer, Answer)
    assert answer.headers["allow"] == method


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o"])
def test_models_are_got(path: str, method: str) -> None:
    expected = Refused(405, "method_not_supported", f"{method} is not supported here; use GET.")
    assert Playbook(seed()) >> headers(path, method) << expected


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity", "identity,gzip", "deflate"])
def test_a_compressed_body_is_a_415_before_it_is_sent(coding: str) -> None:
    expected = Refused(415, "unsupported_encoding", "`content-encoding`")
    assert Playbook(seed()) >> headers(content_encoding=coding) << expected


def test_a_body_that_is_said_to_be_as_it_is_is_taken() -> None:
    assert Playbook(seed()) >> headers(content_encoding="identity") << Proceed()


def test_a_request_that_ends_with_its_headers_has_no_body_to_route() -> None:
    expected = Refused(400, "invalid_body", "body is empty")
    assert Playbook(seed()) >> headers(end_of_stream=True) << expected


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (headers(CHAT, "GET"), 405),
        (headers("/v1/messages", "PUT"), 405),
        (headers(content_encoding="gzip"), 415),
        (headers("/v1/embeddings", end_of_stream=True), 400),
    ],
)
def test_what_the_head_alone_rules_out_is_decided_and_named_too(
    event: RequestHeaders, status: int
) -> None:
    answer = Exchange(seed(), lambda _: EMPTY_VIEW).receive(event, now=NOW, draw=DRAW)
    assert isinstance(answer, Answer)
    assert answer.decision
    assert answer.decision.refusal
    assert answer.decision.refusal.status == answer.status == status
    assert answer.headers["x-router-decision"] == answer.decision.id == decision_id(NOW, DRAW)


@pytest.mark.parametrize(
    "event", [headers("/v1/completions"), headers("/v1/models", "POST"), headers("/", "GET")]
)
def test_what_is_not_for_a_model_is_no_decision(event: RequestHeaders) -> None:
    answer = Exchange(seed(), lambda _: EMPTY_VIEW).receive(event, now=NOW, draw=DRAW)
    assert isinstance(answer, Answer)
    assert answer.decision is None
    assert "x-router-decision" not in answer.headers


def test_a_body_may_be_as_large_as_the_config_says_and_no_larger() -> None:
    small = world("bodyBytesMax: 1KiB")
    frame = len(body_of(user=""))
    filled = body(user="x" * (1024 - frame))
    assert len(filled.body) == 1024
    fits = Sent("north/plain", "north/twice", "south/twice")
    assert Playbook(small) >> headers() << Proceed() >> filled << fits
    expected = Refused(413, "request_too_large", "larger than 1024 bytes")
    assert (
        Playbook(small)
        >> headers()
        << Proceed()
        >> replace(filled, body=filled.body + b" ")
        << (expected)
    )


LOOK = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": CANARY}}]}]


@pytest.mark.parametrize(
    ("more", "payload", "expected"),
    [
        ({}, b"", Refused(400, "invalid_body", "body is empty")),
        ({}, b'{"messages":"canary-8d2f', Refused(400, "invalid_body", "not valid JSON")),
        ({}, b'["canary-8d2f"]', Refused(400, "invalid_body", "not a JSON object")),
        ({}, b'{"user":"canary-8d2f"}', Refused(400, "invalid_value", "`messages`")),
        ({}, body_of(stream=CANARY), Refused(400, "invalid_value", "`stream`")),
        ({"x_router_task": CANARY * 9}, body_of(), Refused(400, "invalid_task", "`x-router-task`")),
        ({}, body_of(metadata={"task_type": f" {CANARY}"}), Refused(400, "invalid_task")),
        ({}, body_of(model="best-of-all"), Refused(404, "model_not_found", "name one of: auto,")),
        (
            {},
            body_of(max_tokens=300_000, user=CANARY),
            Refused(422, "no_eligible_target", "tokens"),
        ),
        (
            {},
            body_of(model="claude-opus-4", modalities=["audio"]),
            Refused(422, "no_eligible_target"),
        ),
    ],
)
def test_what_cannot_be_routed_is_refused_without_a_quote(
    more: dict[str, Any], payload: bytes, expected: Refused
) -> None:
    event = RequestBody(payload)
    assert Playbook(seed()) >> headers(**more) << Proceed() >> event << expected
    exchange = Exchange(seed(), lambda _: EMPTY_VIEW)
    exchange.receive(headers(**more), now=NOW, draw=DRAW)
    answer = exchange.receive(event, now=NOW, draw=DRAW)
    assert isinstance(answer, Answer)
    assert CANARY.encode() not in answer.body
    assert answer.headers == {
        "content-type": "application/json",
        "x-router-decision": decision_id(NOW, DRAW),
    }


# Models


def asked(path: str, snapshot: Snapshot) -> Any:  # noqa: ANN401  JSON
    answer = Exchange(snapshot, lambda _: EMPTY_VIEW).receive(
        headers(path, "GET"), now=NOW, draw=DRAW
    )
    assert isinstance(answer, Answer)
    assert answer.status == 200
    return json.loads(answer.body)


@pytest.mark.parametrize("path", ["/v1/models", "/team-a/v1/models", "/v1/models?limit=5"])
def test_the_list_of_models_is_auto_and_what_the_config_uses(path: str) -> None:
    listed = [(model["id"], model["owned_by"]) for model in asked(path, seed())["data"]]
    assert listed == [
        ("auto", "router"),
        ("claude-opus-4", "anthropic"),
        ("gpt-4o", "openai"),
        ("claude-sonnet-4", "anthropic"),
        ("gpt-4o-mini", "openai"),
        ("claude-haiku-3", "anthropic"),
        ("gemini-flash-2.0", "google"),
    ]


SLASHED = snapshot_of(
    "providers: {home: {baseUrl: http://home.test/v1}}\n"
    "models: {org/model-7B: {targets: [{provider: home}], contextWindow: 9}}\n" + CATCH_ALL
)


@pytest.mark.parametrize(
    ("path", "name", "snapshot"),
    [
        ("/v1/models/auto", "auto", seed()),
        ("/v1/models/gpt-4o", "gpt-4o", seed()),
        ("/team-a/v1/models/gpt-4o?a=b", "gpt-4o", seed()),
        ("/v1/models/org/model-7B", "org/model-7B", SLASHED),
        ("/v1/models/org%2Fmodel-7B", "org/model-7B", SLASHED),
        ("/v1/models/claude-3-haiku", "claude-3-haiku", seed()),
        ("/v1/models/best", "best", world()),
    ],
)
def test_every_name_that_may_be_asked_for_can_be_looked_up(
    path: str, name: str, snapshot: Snapshot
) -> None:
    assert asked(path, snapshot)["id"] == name


def test_a_model_that_is_not_here_is_a_404_that_lists_those_that_are() -> None:
    expected = Refused(404, "model_not_found", "`claude-5` does not exist here")
    assert Playbook(seed()) >> headers("/v1/models/claude-5", "GET") << expected


# What is sent on


def replied(payload: bytes, path: str = CHAT, snapshot: Snapshot | None = None) -> Reply:
    exchange = Exchange(snapshot or world(), lambda _: EMPTY_VIEW)
    assert isinstance(exchange.receive(headers(path), now=NOW, draw=DRAW), Proceed)
    return exchange.receive(RequestBody(payload), now=NOW, draw=DRAW)


def forwarded(path: str = CHAT, *, snapshot: Snapshot | None = None, **fields: object) -> Forward:
    reply = replied(body_of(**fields), path, snapshot)
    assert isinstance(reply, Forward), reply
    return reply


def test_the_body_is_the_clients_with_the_first_targets_model_in_front() -> None:
    written = b' {"a":1.50 , "model":"auto",\n"messages":[{"role":"user","content":"\\u017c"}]} '
    reply = replied(written, "/hasty/v1/chat/completions")
    assert isinstance(reply, Forward)
    after = b'"a":1.50 , \n"messages":[{"role":"user","content":"\\u017c"}]} '
    assert reply.body == '{"model":"ż",'.encode() + after


def test_the_prefix_is_measured_in_bytes() -> None:
    plan = forwarded("/hasty/v1/chat/completions").plan
    prefix = '{"model":"ż",'.encode()
    assert plan.prefix_bytes == len(prefix)


def test_the_plan_names_the_decision_and_the_route() -> None:
    plan = forwarded().plan
    assert plan.route == "rest"
    assert len(plan.decision) == 26


def test_a_target_has_a_prefix_only_where_its_model_is_another_than_the_firsts() -> None:
    def prefixes(reply: Forward) -> dict[str, str | None]:
        assert {attempt.endpoint for attempt in reply.chain} == {"/chat/completions"}
        return {attempt.target: attempt.prefix for attempt in reply.chain}

    assert prefixes(forwarded("/twice/v1/chat/completions")) == {
        "north/twice": None,
        "south/twice": None,
    }
    assert prefixes(forwarded(tools=[{}])) == {
        "north/twice": None,
        "south/twice": None,
        "north/other": '{"model":"org/other-\\"1\\"",',
    }


def test_each_attempt_goes_through_a_guard_which_guard_holds_the_rest_of_the_chain() -> None:
    assert [(attempt.target, attempt.guard) for attempt in forwarded().chain] == [
        ("north/plain", "guard:north/plain>north/twice>south/twice"),
        ("north/twice", "guard:north/twice>south/twice"),
        ("south/twice", "guard:south/twice"),
    ]


def test_a_guard_is_no_deeper_than_those_that_envoy_holds() -> None:
    shallow = forwarded(snapshot=replace(world(), guard_depth=1)).chain
    assert [attempt.guard for attempt in shallow] == [
        "guard:north/plain",
        "guard:north/twice",
        "guard:south/twice",
    ]


@pytest.mark.parametrize(("attempts", "retries"), [(1, "0"), (2, "1"), (3, "2"), (10, "5")])
def test_there_are_no_more_retries_than_targets_behind_the_first(
    attempts: int, retries: str
) -> None:
    snapshot = world(f"maxAttempts: {attempts}")
    assert forwarded(snapshot=snapshot).headers["x-envoy-max-retries"] == retries


@pytest.mark.parametrize(
    ("path", "fields", "timeout_ms"),
    [
        ("/hasty/v1/chat/completions", {}, "2500"),
        ("/south/v1/chat/completions", {}, "45000"),
        ("/v1/chat/completions", {}, "45000"),
        ("/v1/chat/completions", {"max_tokens": 20_000}, None),  # north waits the default
    ],
)
def test_a_try_waits_as_long_as_the_most_patient_of_the_chain_that_differs_from_the_default(
    path: str, fields: dict[str, Any], timeout_ms: str | None
) -> None:
    found = forwarded(path, **fields).headers.get("x-envoy-upstream-rq-per-try-timeout-ms")
    assert found == timeout_ms


def test_no_timeout_is_set_where_no_provider_has_its_own() -> None:
    assert forwarded(snapshot=seed()).headers.keys() == {
        "content-length",
        "content-type",
        "x-envoy-max-retries",
    }


# For every decision

snapshots = st.sampled_from([1, 2, 3, 10]).map(lambda n: world(f"maxAttempts: {n}"))
payloads = st.builds(
    Payload,
    requested_model=st.sampled_from(
        [None, *map(RequestedModel, ["auto", "best", "plain", "twice", "other", "quick"])]
    ),
    streaming=st.booleans(),
    features=st.frozensets(st.sampled_from(Feature), max_size=2),
    text=st.sampled_from([0, 1800, 7200, 20_000, 40_000]).map(lambda n: measure(b"word " * n)),
    schemas=st.sampled_from([b"", b'[{"type":"function"}]' * 50]).map(measure),
    messages=st.sampled_from([1, 2, 200]),
    parts=st.sampled_from([{}, {Feature.VISION: 1}, {Feature.VISION: 3, Feature.DOCUMENTS: 1}]),
    output_tokens_max=st.sampled_from([None, 1, 10_000]),
    reasoning_effort=st.sampled_from([None, "high"]),
    metadata=st.just({}),
    last_turn=st.just(""),
    rest=st.sampled_from([b'"messages":[]}', '"ż":1 }\n'.encode()]),
)
prefixes = st.sampled_from(["", "/twice", "/hasty", "/south", "/other"])


def answer_to(payload: Payload, prefix: str, snapshot: Snapshot) -> Reply:
    with pytest.MonkeyPatch.context() as patch:
        dialect = replace(CLIENTS[Surface.CHAT], read=lambda _: payload)
        patch.setitem(CLIENTS, Surface.CHAT, dialect)
        return replied(b"", f"{prefix}{CHAT}", snapshot)


@given(payloads, prefixes, snapshots)
@settings(deadline=None, max_examples=120, database=None)
def test_what_is_sent_on_is_what_envoy_holds_and_every_target_reads(
    payload: Payload, prefix: str, snapshot: Snapshot
) -> None:
    reply = answer_to(payload, prefix, snapshot)
    if isinstance(reply, Answer):
        assert reply.status == 422
        return
    assert isinstance(reply, Forward)
    assert {attempt.guard for attempt in reply.chain} <= set(snapshot.guards.values())
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-envoy-max-retries"] == str(len(reply.chain) - 1)
    assert reply.body[reply.plan.prefix_bytes :] == payload.rest
    own = reply.body[: reply.plan.prefix_bytes].decode()
    for attempt in reply.chain:
        upstream = snapshot.targets[attempt.target].upstream_model
        read = json.loads((attempt.prefix or own).removesuffix(",") + "}")
        assert read == {"model": upstream}


def test_every_guard_that_any_request_can_name_is_held() -> None:
    features: list[dict[str, object]] = [
        {},
        {"tools": [{}]},
        {"reasoning_effort": "low"},
        {"max_tokens": 14_000},
        {"max_tokens": 20_000},
        {"max_tokens": 40_000},
    ]
    named: set[str] = set()
    asked = (None, *world().offered)
    for prefix, model, fields in product(("", "/twice", "/hasty", "/south"), asked, features):
        reply = replied(body_of(model=model, **fields), f"{prefix}{CHAT}")
        if isinstance(reply, Forward):
            named.update(attempt.guard for attempt in reply.chain)
    assert named
    assert named <= set(world().guards.values())
    assert all(name == guard_name(window) for window, name in world().guards.items())


def crowd(objective: str, models: int, attempts: int) -> Snapshot:
    """A config of so many models; with many of them Envoy holds no guard for every order."""
    names = [f"m{i}" for i in range(models)]
    first, rest = names[: (models + 1) // 2], names[(models + 1) // 2 :]
    places = "[{provider: north}, {provider: south, weight: 3}]"
    return snapshot_of(
        "providers: {north: {baseUrl: http://n.test/v1}, south: {baseUrl: http://s.test/v1}}\n"
        "models:\n"
        + "".join(
            f"  {name}: {{targets: {places}, contextWindow: {4000 * (i + 1)},\n"
            "    price: {inputPerMTok: 1, outputPerMTok: 1}, capabilities: {tools: true}}\n"
            for i, name in enumerate(names)
        )
        + "routes:\n"
        f"  - {{match: {{path: /twice/*}}, candidates: [{', '.join(reversed(names))}]}}\n"
        f"  - {{match: {{default: true}}, candidates: [{', '.join(first)}],\n"
        f"      fallback: [{', '.join(rest)}], objective: {objective}}}\n"
        "overrides: {allow: [model, avoid, no-fallback]}\n"
        f"maxAttempts: {attempts}\n"
    )


crowded = cache(crowd)
crowds = st.builds(
    crowded,
    st.sampled_from(["order", "cost", "latency", "weighted"]),
    st.sampled_from([1, 2, 3, 7]),
    st.sampled_from([1, 3, 10]),
)
target_views = st.builds(
    TargetView,
    breaker=st.sampled_from([Breaker.CLOSED, Breaker.CLOSED, Breaker.OPEN, Breaker.HALF_OPEN]),
    probing=st.booleans(),
    not_before=st.sampled_from([0.0, 0.0, NOW + 5, NOW + 50]),
    requests_left=st.sampled_from([None, 0.0, 5.0]),
    tokens_left=st.sampled_from([None, 100.0]),
    ttfb_ms=st.sampled_from([None, 10.0, 500.0]),
    spiking=st.booleans(),
)


@given(crowds, st.data())
@settings(deadline=None, max_examples=250, database=None)
def test_no_chain_names_a_cluster_that_envoy_does_not_hold(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from([None, "auto", *snapshot.models]))
    said = {
        "x-router-model": data.draw(st.sampled_from(["", *snapshot.offered])),
        "x-router-avoid": data.draw(st.sampled_from(["", "north", "m0", "south/m1,m2"])),
        "x-router-no-fallback": data.draw(st.sampled_from(["false", "false", "true"])),
    }
    path = data.draw(st.sampled_from([CHAT, f"/twice{CHAT}"]))
    seen = {
        name: data.draw(target_views)
        for name in data.draw(st.lists(st.sampled_from([*snapshot.targets]), unique=True))
    }
    exchange = Exchange(snapshot, lambda _: View(seen))
    draw = data.draw(st.integers(0, 2**DRAW_BITS - 1))
    event = headers(path)
    event = replace(event, headers={**event.headers, **{k: v for k, v in said.items() if v}})
    exchange.receive(event, now=NOW, draw=draw)
    fields = data.draw(st.sampled_from([{}, {"max_tokens": 9000}, {"max_tokens": 20_000}]))
    reply = exchange.receive(body(model=asked, **fields), now=NOW, draw=draw)
    if isinstance(reply, Answer):
        assert reply.status == 422
        return
    assert isinstance(reply, Forward)
    clusters = [attempt.guard for attempt in reply.chain]
    assert {*clusters} <= {*snapshot.guards.values()}
    names = [attempt.target for attempt in reply.chain]
    for i, cluster in enumerate(clusters):
        # A guard tries the chain's own next targets, its group's target first.
        members = cluster.removeprefix(GUARD_PREFIX).split(">")
        assert members == names[i : i + len(members)]


def test_a_long_prompt_leaves_small_models_out_of_the_chain() -> None:
    assert (
        Playbook(world())
        >> headers()
        << Proceed()
        >> body(messages=asking_tokens(10_000))
        << Sent("north/twice", "south/twice", "north/other")
    )


def test_a_refusal_is_a_json_answer_of_its_status() -> None:
    answer = answered(openai_chat.EMPTY_BODY)
    assert answer.status == 400
    assert answer.headers == {"content-type": "application/json"}
    assert json.loads(answer.body)["error"]["code"] == "invalid_body"

"""What binds a conversation to where it began, and what the policy makes of it."""

from functools import cache

import pytest
from configs import body_of, chain_of, snapshot_of

from extproc.dialects import surface_of
from extproc.dialects.conversation import BOUND, Demand
from extproc.exchange import read_and_decide
from extproc.policy.history import binding, history_of
from extproc.record import record
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import Decision, History, Surface

THINKING, STATE, FILES = Demand.BOUND_THINKING, Demand.STORED_STATE, Demand.STORED_FILES
REASONING = Demand.ENCRYPTED_REASONING


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize(
    ("demands", "bound_by"),
    [
        (set(), None),
        ({Demand.LOGPROBS, Demand.COUNT}, None),
        ({THINKING}, ("bound_thinking",)),
        ({STATE, Demand.LOGPROBS}, ("stored_state",)),
        ({THINKING, STATE, FILES}, ("bound_thinking", "stored_files", "stored_state")),
    ],
)
def test_a_history_is_what_only_the_first_provider_can_read(
    demands: set[Demand], bound_by: tuple[str, ...] | None, *, strip: bool
) -> None:
    expected = None if bound_by is None else History(bound_by, strip)
    assert history_of(frozenset(demands), strip=strip) == expected


def test_only_thinking_may_be_left_out() -> None:
    every = frozenset(Demand)
    assert binding(every, strip=False) == every
    assert binding(every, strip=True) == every - {THINKING, REASONING}
    assert {THINKING, REASONING, STATE, FILES} == BOUND


WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  claude: { api: anthropic, baseUrl: http://claude.test }
  openai: { baseUrl: http://openai.test/v1 }
models:
  llama: { targets: [{provider: north}], contextWindow: 90000 }
  opus: { targets: [{provider: claude}], contextWindow: 90000, maxOutputTokens: 9000 }
  gpt: { targets: [{provider: openai}], contextWindow: 90000 }
unknownCapability: allow
routes:
  - { match: {default: true}, candidates: [llama, opus, gpt] }
"""


@cache
def world(bound_history: str) -> Snapshot:
    return snapshot_of(f"{WORLD}boundHistory: {bound_history}\n" if bound_history else WORLD)


def decided(bound_history: str, path: str, **fields: object) -> Decision:
    surface = surface_of(path)
    assert surface
    decision, _ = read_and_decide(
        *(path, {}, body_of(**fields), world(bound_history), EMPTY_VIEW),
        now=0,
        draw=0,
        surface=surface,
    )
    return decision


USER = {"role": "user", "content": "Hello"}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "x"}
TEXT = {"type": "text", "text": "Hi"}
ENCRYPTED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
ITEM = {"type": "message", "role": "user", "content": "Hello"}

BOUND_REQUESTS = [
    (
        "/v1/messages",
        {
            "max_tokens": 9,
            "messages": [USER, {"role": "assistant", "content": [block, TEXT]}, USER],
        },
        "claude/opus",
    )
    for block in (SIGNED, REDACTED)
] + [("/v1/responses", {"input": [ITEM, ENCRYPTED, ITEM]}, "openai/gpt")]


@pytest.mark.parametrize(("path", "fields", "home"), BOUND_REQUESTS)
@pytest.mark.parametrize("said", ["", "pin"])
def test_a_conversation_with_thinking_stays_where_it_can_be_read(
    said: str, path: str, fields: dict[str, object], home: str
) -> None:
    decision = decided(said, path, **fields)
    assert chain_of(decision) == [home]
    assert {one.reason for one in decision.rejected} == {"capability"}
    bound_by = "bound_thinking" if path == "/v1/messages" else "encrypted_reasoning"
    assert all(Demand[bound_by.upper()].value in one.detail for one in decision.rejected)
    assert record(decision)["history"] == {"bound_by": [bound_by], "policy": "pin"}


@pytest.mark.parametrize(("path", "fields", "home"), BOUND_REQUESTS)
def test_a_conversation_may_go_on_anywhere_without_its_thinking(
    path: str, fields: dict[str, object], home: str
) -> None:
    decision = decided("strip", path, **fields)
    assert chain_of(decision) == ["north/llama", "claude/opus", "openai/gpt"]
    assert home in chain_of(decision)
    bound_by = "bound_thinking" if path == "/v1/messages" else "encrypted_reasoning"
    assert record(decision)["history"] == {"bound_by": [bound_by], "policy": "strip"}


@pytest.mark.parametrize("said", ["pin", "strip"])
@pytest.mark.parametrize(
    ("path", "fields", "home", "bound_by"),
    [
        (
            *("/v1/responses", {"input": [ITEM], "previous_response_id": "resp_1"}),
            *("openai/gpt", "stored_state"),
        ),
        (
            "/v1/messages",
            {
                "max_tokens": 9,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
                        ],
                    }
                ],
            },
            *("claude/opus", "stored_files"),
        ),
    ],
)
def test_what_is_stored_binds_whatever_the_policy(
    said: str, path: str, fields: dict[str, object], home: str, bound_by: str
) -> None:
    decision = decided(said, path, **fields)
    assert chain_of(decision) == [home]
    assert record(decision)["history"] == {"bound_by": [bound_by], "policy": said}


@pytest.mark.parametrize("said", ["pin", "strip"])
def test_a_request_that_nothing_binds_has_no_history_in_its_record(said: str) -> None:
    decision = decided(said, "/v1/messages", max_tokens=9)
    assert decision.history is None
    assert "history" not in record(decision)


def test_a_bound_conversation_that_nobody_can_go_on_with_is_refused_with_its_history() -> None:
    path, fields, _ = BOUND_REQUESTS[0]
    decision = decided("pin", path, model="llama", **fields)
    assert decision.refusal
    assert (decision.refusal.status, decision.refusal.code) == (422, "no_eligible_target")
    assert "earlier thinking that only Claude can read" in decision.refusal.message
    assert record(decision)["history"] == {"bound_by": ["bound_thinking"], "policy": "pin"}


TWO_HOMES = """
providers:
  azure: { baseUrl: http://azure.test/openai/v1, apiKey: k }
  openai: { baseUrl: http://openai.test/v1 }
models:
  gpt: { targets: [{provider: azure}, {provider: openai}], contextWindow: 90000 }
  mini: { targets: [{provider: openai}], contextWindow: 90000 }
unknownCapability: allow
routes:
  - { match: { headers: { x-from: openai } }, candidates: [mini, gpt] }
  - { match: { default: true }, candidates: [gpt], fallback: mini }
"""
RESPONSES = "/v1/responses"


@pytest.mark.parametrize(
    "fields",
    [
        {"input": [ITEM], "previous_response_id": "resp_1"},
        {"input": [ITEM, ENCRYPTED, ITEM]},
        {
            "input": [
                {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
            ]
        },
    ],
    ids=["state", "reasoning", "file"],
)
@pytest.mark.parametrize(
    ("headers", "chain"),
    [({}, ["azure/gpt"]), ({"x-from": "openai"}, ["openai/mini", "openai/gpt"])],
)
def test_of_two_that_speak_the_api_only_the_first_provider_has_what_is_stored(
    headers: dict[str, str], chain: list[str], fields: dict[str, object]
) -> None:
    decision, _ = read_and_decide(
        *(RESPONSES, headers, body_of(**fields), snapshot_of(TWO_HOMES), EMPTY_VIEW),
        now=0,
        draw=0,
        surface=Surface.RESPONSES,
    )
    assert chain_of(decision) == chain
    rejected = {one.target.partition("/")[0] for one in decision.rejected}
    assert rejected == {"openai", "azure"} - {chain[0].partition("/")[0]}
    assert {one.reason for one in decision.rejected} == {"capability"}


def test_what_is_stored_nowhere_goes_to_both() -> None:
    decision, _ = read_and_decide(
        *(RESPONSES, {}, body_of(input=[ITEM]), snapshot_of(TWO_HOMES), EMPTY_VIEW),
        now=0,
        draw=0,
        surface=Surface.RESPONSES,
    )
    assert chain_of(decision) == ["azure/gpt", "openai/gpt", "openai/mini"]

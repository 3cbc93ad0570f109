"""Which targets a large body can be sent to: bytes travel once, and a translation beside them."""

from dataclasses import replace
from functools import cache

import pytest
from configs import HOME, body_of, chain_of, snapshot_of, target

from extproc.dialects import surface_of
from extproc.exchange import read_and_decide
from extproc.plan import forward
from extproc.policy.carriage import CARRIED_BODY_BYTES_MAX, carried
from extproc.record import record
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import (
    Api,
    Candidate,
    ChatForm,
    Decision,
    Model,
    ModelName,
    Reason,
    Surface,
    Target,
    TargetId,
)

LARGE = CARRIED_BODY_BYTES_MAX + 1


def candidate(
    name: str, api: Api, model: str = "m", limit: str = "max_tokens", **endpoints: str
) -> Candidate:
    """A target called `name` of the model `model`; `endpoints` by their surface."""
    native = {Surface(surface): end for surface, end in endpoints.items()}
    provider = replace(HOME, api=api, endpoints=native, chat_form=ChatForm(limit))
    one = replace(target(model), id=TargetId(name), provider=provider)
    return Candidate(one, 1, None, None)


GPT = candidate("gpt", Api.OPENAI, chat="/c")
AZURE = candidate("azure", Api.AZURE, "n", chat="/c")
CLAUDE = candidate("claude", Api.ANTHROPIC, messages="/m")
OTHER_CLAUDE = candidate("other", Api.ANTHROPIC, "n", messages="/m")
SAME_CLAUDE = candidate("same", Api.ANTHROPIC, messages="/m")
GEMINI = candidate("gemini", Api.GEMINI)
LIMITED = candidate("limited", Api.OPENAI, limit="max_completion_tokens", chat="/c")


def split(
    chain: list[Candidate], surface: Surface, body_bytes: int = LARGE, length: int = 9
) -> tuple[list[str], list[str]]:
    kept, left = carried(chain, surface, body_bytes, length)
    for one in left:
        assert one.rejection
        assert (one.rejection.target, one.rejection.reason) == (
            one.target.id,
            Reason.BODY_TOO_LARGE,
        )
        assert str(body_bytes) in one.rejection.detail
        assert str(CARRIED_BODY_BYTES_MAX) in one.rejection.detail
    assert not any(one.rejection for one in kept)
    return [one.target.id for one in kept], [one.target.id for one in left]


@pytest.mark.parametrize("body_bytes", [0, CARRIED_BODY_BYTES_MAX])
def test_a_small_body_goes_to_every_target(body_bytes: int) -> None:
    chain = [GPT, CLAUDE, GEMINI, AZURE]
    names = ["gpt", "claude", "gemini", "azure"]
    assert split(chain, Surface.CHAT, body_bytes) == (names, [])


@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.MESSAGES, Surface.RESPONSES])
@pytest.mark.parametrize("first", [GPT, CLAUDE, GEMINI])
def test_the_first_is_never_left_out(first: Candidate, surface: Surface) -> None:
    kept, _ = split([first, GPT, CLAUDE, GEMINI], surface, 2**60)
    assert kept[0] == first.target.id


@pytest.mark.parametrize(
    ("chain", "surface", "kept", "left"),
    [
        # They speak the client's dialect: the bytes are the client's, whatever the model.
        ([GPT, AZURE, LIMITED], Surface.CHAT, ["gpt", "azure", "limited"], []),
        ([CLAUDE, OTHER_CLAUDE], Surface.MESSAGES, ["claude", "other"], []),
        ([GPT, CLAUDE, AZURE], Surface.CHAT, ["gpt", "azure"], ["claude"]),
        ([CLAUDE, GPT, OTHER_CLAUDE], Surface.MESSAGES, ["claude", "other"], ["gpt"]),
        # They don't: what is known of a model decides how it is asked.
        ([CLAUDE, SAME_CLAUDE], Surface.CHAT, ["claude", "same"], []),
        ([CLAUDE, OTHER_CLAUDE], Surface.CHAT, ["claude"], ["other"]),
        ([CLAUDE, GPT, SAME_CLAUDE], Surface.CHAT, ["claude", "same"], ["gpt"]),
        ([GPT, LIMITED], Surface.MESSAGES, ["gpt"], ["limited"]),
        ([GEMINI, GPT, CLAUDE], Surface.RESPONSES, ["gemini"], ["gpt", "claude"]),
    ],
)
def test_a_large_body_goes_to_those_that_can_be_given_the_one_that_is_sent(
    chain: list[Candidate], surface: Surface, kept: list[str], left: list[str]
) -> None:
    assert split(chain, surface) == (kept, left)


def test_a_place_in_the_chain_that_is_free_goes_to_the_next_that_can_have_it() -> None:
    chain = [GPT, CLAUDE, GEMINI, AZURE]
    assert split(chain, Surface.CHAT, length=2) == (["gpt", "azure"], ["claude", "gemini"])
    assert split(chain, Surface.CHAT, length=1) == (["gpt"], [])


def test_nothing_is_said_of_those_that_would_not_have_been_tried() -> None:
    chain = [GPT, AZURE, CLAUDE]
    assert split(chain, Surface.CHAT, length=2) == (["gpt", "azure"], [])


def test_two_models_of_one_name_upstream_are_not_asked_alike() -> None:
    known = replace(SAME_CLAUDE.target, model=Model(ModelName("house"), None, {}))
    chain = [CLAUDE, replace(SAME_CLAUDE, target=known)]
    assert split(chain, Surface.CHAT) == (["claude"], ["same"])


# In a decision

WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  claude: { api: anthropic, baseUrl: http://claude.test }
models:
  gpt: { targets: [{provider: north}], contextWindow: 9000000 }
  opus: { targets: [{provider: claude}], contextWindow: 9000000, maxOutputTokens: 9000 }
  llama: { targets: [{provider: north}], contextWindow: 9000000 }
bodyBytesMax: 8MiB
routes:
  - { match: {default: true}, candidates: [gpt, opus, llama] }
"""


@cache
def world() -> Snapshot:
    return snapshot_of(WORLD)


def decided(body: bytes, path: str = "/v1/chat/completions") -> Decision:
    surface = surface_of(path)
    assert surface
    decision, _ = read_and_decide(
        *(path, {}, body, world(), EMPTY_VIEW), now=0, draw=0, surface=surface
    )
    return decision


@pytest.mark.parametrize(
    ("path", "model", "kept", "left"),
    [
        ("/v1/chat/completions", None, ["north/gpt", "north/llama"], ["claude/opus"]),
        ("/v1/chat/completions", "opus", ["claude/opus"], []),
        ("/v1/messages", None, ["north/gpt"], ["claude/opus", "north/llama"]),
    ],
)
def test_who_was_left_out_for_the_bodys_size_stands_in_the_record(
    path: str, model: str | None, kept: list[str], left: list[str]
) -> None:
    body = body_of(user="x" * LARGE, max_tokens=9, model=model)
    if path == "/v1/messages":
        body = body_of(x="x" * LARGE, max_tokens=9, model=model)
    decision = decided(body, path)
    assert chain_of(decision) == kept
    told = [(one["target"], one["reason"]) for one in record(decision)["rejected"]]
    assert told == [(name, "body_too_large") for name in left]
    assert not decision.refusal


def test_the_size_is_that_of_the_body_without_its_model() -> None:
    frame = len(body_of(user="")) - 1  # the opening brace is the head's
    for size, chain in (
        (CARRIED_BODY_BYTES_MAX, ["north/gpt", "claude/opus", "north/llama"]),
        (CARRIED_BODY_BYTES_MAX + 1, ["north/gpt", "north/llama"]),
    ):
        assert chain_of(decided(body_of(user="x" * (size - frame)))) == chain


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_no_large_body_travels_twice(path: str) -> None:
    body = body_of(x="x" * LARGE, max_tokens=9)
    surface = surface_of(path)
    assert surface
    decision, request = read_and_decide(
        *(path, {}, body, world(), EMPTY_VIEW), now=0, draw=0, surface=surface
    )
    assert request
    assert forward(decision, request, body, world()).bodies == {}


def native(one: Target, surface: Surface) -> Target:
    return replace(one, provider=replace(one.provider, endpoints={surface: "/x"}))


@pytest.mark.parametrize("surface", Surface)
def test_who_speaks_the_clients_api_is_alike_on_every_surface(surface: Surface) -> None:
    chain = [replace(one, target=native(one.target, surface)) for one in (GPT, CLAUDE, GEMINI)]
    assert split(chain, surface) == (["gpt", "claude", "gemini"], [])

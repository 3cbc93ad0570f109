"""Each command that ends by itself: what is printed where, what is returned, the same twice."""

import json
import os
import re
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from configs import CATCH_ALL, KEYS, SEED_FILE

from extproc import __version__
from extproc.command_line import main
from extproc.snapshot import CHAIN_NAMESPACE, PLAN_NAMESPACE

EXAMPLES = SEED_FILE.parent


@pytest.fixture(autouse=True)
def _keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


@pytest.fixture
def write(tmp_path: Path) -> "Writing":
    return Writing(tmp_path)


class Writing:
    """Configs and other files on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, text: str, name: str = "config.yaml") -> str:
        path = self._directory / name
        path.write_text(text, "utf-8")
        return str(path)


class Said:
    """What a command returned and printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *argv: str) -> None:
        try:
            self.status: object = main(argv)
        except SystemExit as ended:
            self.status = ended.code
        self.out, self.err = capsys.readouterr()


# check


def test_check_says_ok_and_how_much_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "check", str(SEED_FILE))
    assert (said.status, said.err) == (0, "")
    first, *facts = said.out.splitlines()
    assert first.startswith(f"{SEED_FILE}: ok, 4 routes over 6 targets, sha256:")
    assert all(fact.startswith("  ") for fact in facts)


def test_check_says_where_each_number_of_a_model_comes_from(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    own = "{contextWindow: 9000, quality: {chat: 0.5}, price: {inputPerMTok: 1, outputPerMTok: 2}}"
    models = f"models: {{gpt-4o-mini: {own}}}\n"
    routes = "routes: [{match: {default: true}, model: gpt-4o, fallback: gpt-4o-mini}]"
    facts = Said(capsys, "check", write(models + routes)).out.splitlines()[1:]
    listed = f"(genai-prices {version('genai-prices')}"
    assert f"  gpt-4o: contextWindow 128000 {listed})" in facts
    assert f"  openai/gpt-4o: price $2.5 in, $10 out per million tokens {listed}: gpt-4o)" in facts
    (quality,) = (fact for fact in facts if fact.startswith("  gpt-4o: quality"))
    scored = 'whatmodel.sh, "GPT-4o (2024-08-06)", score 58.0'
    assert quality == f"  gpt-4o: quality default 0.6 ({scored})"
    able = r"  gpt-4o: capabilities vision yes, .*audio no, .* \(catalog: .*, 20\d\d-\d\d-\d\d\)"
    assert any(re.fullmatch(able, fact) for fact in facts)
    assert "  gpt-4o-mini: contextWindow 9000 (this file)" in facts
    assert "  gpt-4o-mini: quality chat 0.5 (this file)" in facts
    mini = "  openai/gpt-4o-mini: price $1 in, $2 out per million tokens (this file)"
    assert mini in facts


def test_check_tells_each_error_on_its_line_and_returns_1(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    routes = "routes: [{match: {taskType: a}, model: gpt-4oo, fallback: [gpt-4o, nope]}]"
    said = Said(capsys, "check", write(routes))
    assert (said.status, said.out) == (1, "")
    first, second, third = said.err.splitlines()
    assert first == "routes[0].model: no model is called gpt-4oo; did you mean gpt-4o?"
    assert second.startswith("routes[0].fallback[1]: no model is called nope; known here: ")
    assert third == "routes: no catch-all; end with a route that matches `default: true`"


def test_what_is_wrong_in_form_hides_no_wrong_name_where_the_two_are_apart(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    routes = "routes: [{match: {default: true}, model: gpt-4oo}]\n"
    name = "routes[0].model: no model is called gpt-4oo; did you mean gpt-4o?"
    for wrong in ("maxAttempts: 0", "max_attempts: 0", "server: {transport: fast}"):
        form, told = Said(capsys, "check", write(routes + wrong)).err.splitlines()
        assert form.startswith(wrong.partition(":")[0])
        assert told == name
    depends = Said(capsys, "check", write(routes + "aliases: {gpt-4oo: 5}"))
    assert len(depends.err.splitlines()) == 1


def test_check_tells_each_missing_credential_on_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    google = "GEMINI_API_KEY or GOOGLE_API_KEY"
    said = Said(capsys, "check", str(SEED_FILE))
    assert (said.status, said.out) == (1, "")
    assert sorted(said.err.splitlines()) == [
        "providers.anthropic.apiKey: ANTHROPIC_API_KEY is not set; set it, or give a key",
        f"providers.google.apiKey: {google} is not set; set it, or give a key",
        "providers.openai.apiKey: OPENAI_API_KEY is not set; set it, or give a key",
    ]


def test_check_needs_no_key_for_a_provider_nobody_uses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write: Writing
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    config = write("providers: {anthropic: {region: eu}}" + CATCH_ALL)
    assert Said(capsys, "check", config).status == 0


def test_check_of_a_file_that_is_not_there_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        said = Said(capsys, "check", str(path))
        assert said.status == 1
        (line,) = said.err.splitlines()
        assert line.startswith(f"{path}: can't be read (")
        assert line.endswith("; name a YAML or JSON file")


def test_check_prints_no_secret(capsys: pytest.CaptureFixture[str], write: Writing) -> None:
    canary = "canary-8d2f"
    for section in (f"{{apiKey: {canary}}}", f"{{apiKey: [{canary}]}}", f"{{key: {canary}}}"):
        said = Said(capsys, "check", write(f"providers: {{openai: {section}}}" + CATCH_ALL))
        assert canary not in said.out + said.err


@pytest.mark.parametrize("name", ["seed", "full"])
def test_check_finds_nothing_wrong_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("OPENAI_EU_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(key, "k")
    said = Said(capsys, "check", str(EXAMPLES / f"{name}.yaml"))
    assert (said.status, said.err) == (0, "")


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m extproc check {SEED_FILE} | head -c 0; echo ${{PIPESTATUS[0]}}"
    shell = ["bash", "-c", command]
    said = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert said.stderr == ""


# explain

REQUEST: dict[str, object] = {
    "messages": [{"role": "user", "content": "Write a Python function that adds."}]
}
HELLO: dict[str, object] = {"messages": [{"role": "user", "content": "Hello"}]}
STATE = """
targets:
  anthropic/claude-sonnet-4: { breaker: open }
  openai/gpt-4o: { ttfbMs: 310, msPerToken: 2 }
"""
TABLE = """\
request   task chat (header), about 8 tokens in, 250 out, app shop
route     default

     target                          cost  latency  verdict
  1  openai/gpt-4o              $0.002520   810 ms  first
  -  anthropic/claude-sonnet-4  $0.003774   unseen  breaker_open: \
too many of its answers were errors

chain     openai/gpt-4o
why       a fallback of route default: none of its first choices can serve now
"""
REFUSED = """\
request   task chat (header), about 8 tokens in, 250 out
asked for gpt-17
route     default
refused   404 model_not_found: The model `gpt-17` does not exist here. \
Leave it out, or name one of: \
"""


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "OPENAI_EU_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("without_keys")
def test_explain_shows_at_a_glance_who_could_serve_and_who_will(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    headers = {"X-Router-Task": "chat", "X-Router-App": "shop"}
    request = write(json.dumps({"headers": headers, "body": HELLO}), "request.json")
    state = write(STATE, "state.yaml")
    command = ("explain", str(SEED_FILE), request, "--state", state)
    first, second = Said(capsys, *command), Said(capsys, *command)
    assert (first.status, first.err) == (0, "")
    assert first.out == TABLE
    assert second.out == first.out


def test_explain_says_why_a_request_is_refused(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    headers = {"x-router-task": "chat"}
    request = {"headers": headers, "body": HELLO | {"model": "gpt-17"}}
    said = Said(capsys, "explain", str(SEED_FILE), write(json.dumps(request), "request.json"))
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(REFUSED.rstrip("\n"))


RECORD_KEYS = [
    *("id", "time", "config", "app", "route", "requested_model", "task", "estimate", "chain"),
    *("rejected", "why", "decide_us"),
]


@pytest.mark.usefixtures("without_keys")
def test_explain_as_json_is_the_record_of_the_decision(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    body = HELLO | {"metadata": {"task_type": "chat"}}
    request, state = write(json.dumps(body), "request.json"), write(STATE, "state.yaml")
    command = ("explain", str(SEED_FILE), request, "--json", "--state", state)
    said = Said(capsys, *command)
    assert (said.status, said.err) == (0, "")
    record = json.loads(said.out)
    assert list(record) == RECORD_KEYS
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", record.pop("id"))
    assert record.pop("config").startswith("sha256:")
    assert record == {
        "time": "2026-01-01T00:00:00Z",
        "app": None,
        "route": "default",
        "requested_model": None,
        "task": {"type": "chat", "source": "metadata", "confidence": None},
        "estimate": {"input_tokens": 8, "output_tokens": 250},
        "chain": [
            {
                "target": "openai/gpt-4o",
                "provider": "openai",
                "model": "gpt-4o",
                "upstream_model": "gpt-4o",
                "expected_cost_usd": 0.00252,
            }
        ],
        "rejected": [
            {
                "target": "anthropic/claude-sonnet-4",
                "reason": "breaker_open",
                "detail": "too many of its answers were errors",
            }
        ],
        "why": "a fallback of route default: none of its first choices can serve now",
        "decide_us": None,
    }
    assert Said(capsys, *command).out == said.out


@pytest.mark.parametrize(
    ("request_text", "status", "kind"),
    [
        ("", 400, "invalid_request"),
        ("[1", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        ("{}", 400, "invalid_request"),
        ('{"messages": []}', 400, "invalid_request"),
        ('{"body": 7}', 400, "invalid_request"),
        ('{"path": "/v1/completions", "body": {"messages": []}}', 404, "not_found"),
        ('{"path": "/v1/embeddings", "body": {"messages": []}}', 400, "invalid_request"),
        ('{"path": "/v1/messages", "body": {"messages": []}}', 400, "invalid_request"),
        (json.dumps(HELLO | {"model": "gpt-17"}), 404, "unknown_model"),
        (json.dumps(HELLO | {"max_tokens": 10**9}), 422, "no_eligible_target"),
    ],
)
def test_a_refused_request_is_a_record_too(
    request_text: str, status: int, kind: str, capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    path = write(request_text, "request.json")
    said = Said(capsys, "explain", str(SEED_FILE), path, "--json")
    assert (said.status, said.err) == (0, "")
    record = json.loads(said.out)
    assert list(record) == [*RECORD_KEYS, "refusal"]
    assert record["chain"] == []
    assert set(record["refusal"]) == {"kind", "status", "message"}
    assert (record["refusal"]["kind"], record["refusal"]["status"]) == (kind, status)
    assert record["refusal"]["message"] == record["why"]
    assert Said(capsys, "explain", str(SEED_FILE), path).status == 0


def test_explain_takes_a_request_a_line_and_gives_a_record_a_line(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    wrapped = {"path": "/v1/chat/completions?api-version=1", "body": REQUEST}
    lines = [json.dumps(HELLO), "", json.dumps(wrapped), "not JSON"]
    command = ("explain", str(SEED_FILE), "--jsonl", write("\n".join(lines), "requests.jsonl"))
    said = Said(capsys, *command)
    assert (said.status, said.err) == (0, "")
    records = [json.loads(line) for line in said.out.splitlines()]
    assert [record["route"] for record in records] == ["default", "route-2", None]
    assert records[2]["refusal"]["status"] == 400
    assert len({record["id"] for record in records}) == 3
    assert Said(capsys, *command).out == said.out


def test_explain_reads_standard_input(write: Writing) -> None:
    command = [sys.executable, "-m", "extproc", "explain", str(SEED_FILE), "--json"]
    piped, lines = (
        subprocess.run([*command, *words], input=text, capture_output=True, text=True, check=True)
        for words, text in ((["-"], json.dumps(HELLO)), (["--jsonl", "-"], json.dumps(HELLO)))
    )
    assert json.loads(piped.stdout) == json.loads(lines.stdout)


def test_chance_is_the_seed_and_nothing_else(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    batch = {"headers": {"x-tier": "batch"}, "body": HELLO}
    requests = write("\n".join([json.dumps(batch)] * 400), "requests.jsonl")

    def first_targets(seed: str) -> list[str]:
        command = ("explain", str(EXAMPLES / "full.yaml"), "--jsonl", requests, "--seed", seed)
        lines = Said(capsys, *command).out.splitlines()
        return [json.loads(line)["chain"][0]["target"] for line in lines]

    drawn = first_targets("a")
    assert drawn == first_targets("a")
    assert drawn != first_targets("b")
    assert 0.7 < drawn.count("local/llama-70b") / len(drawn) < 0.8, "three of four, by weight"


def test_now_decides_which_times_are_past(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    request = write(json.dumps(HELLO), "request.json")
    state = write("targets: {anthropic/claude-sonnet-4: {notBefore: 1767225630}}", "state.yaml")
    command = ("explain", str(SEED_FILE), request, "--json", "--state", state, "--now")
    before, after = (
        json.loads(Said(capsys, *command, now).out)
        for now in ("2026-01-01T00:00:29Z", "2026-01-01T00:00:31Z")
    )
    assert [one["reason"] for one in before["rejected"]] == ["not_before"]
    assert after["rejected"] == []


@pytest.mark.parametrize(
    ("files", "words", "status", "expected"),
    [
        ({}, ["CONFIG", "absent.json"], 1, "absent.json: can't be read (No such file"),
        ({"r": "{}"}, ["CONFIG", "r", "--state", "absent"], 1, "absent: can't be read (No such"),
        ({"r": "{}", "s": "a: 1"}, ["CONFIG", "r", "--state", "s"], 1, "a: unknown key; known"),
        ({"r": "{}", "s": "[]"}, ["CONFIG", "r", "--state", "s"], 1, "s: not right; input should"),
        (
            {"r": "{}", "s": "targets: {openai/gpt-4: {}}"},
            ["CONFIG", "r", "--state", "s"],
            1,
            "s: targets.openai/gpt-4: no target is called openai/gpt-4; did you mean openai/",
        ),
        ({"r": '{"body": {}, "path": 3}'}, ["CONFIG", "r"], 1, "not an object of path, headers"),
        ({"r": '{"body": {}, "header": {}}'}, ["CONFIG", "r"], 1, "unknown field `header`"),
        ({"r": '\n{"body": {}, "path": 3}'}, ["CONFIG", "--jsonl", "r"], 1, "line 2: not an obj"),
        ({"r": "{}", "c": "routes: []"}, ["c", "r"], 1, "routes: no catch-all; end with a route"),
        ({}, ["CONFIG"], 2, "give either REQUEST.json or --jsonl FILE"),
        ({"r": "{}"}, ["CONFIG", "r", "--jsonl", "r"], 2, "give either REQUEST.json or --jsonl"),
    ],
)
def test_what_explain_can_not_read_is_one_line(  # noqa: PLR0917  a table
    files: dict[str, str],
    words: list[str],
    status: int,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    write: Writing,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, text in files.items():
        write(text, name)
    monkeypatch.chdir(tmp_path)
    said = Said(capsys, "explain", *(str(SEED_FILE) if w == "CONFIG" else w for w in words))
    assert (said.status, said.out) == (status, "")
    assert expected in said.err
    assert len(said.err.splitlines()) == 1


# test


@pytest.mark.usefixtures("without_keys")
@pytest.mark.parametrize("name", ["seed", "full"])
def test_the_cases_of_an_example_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cases = EXAMPLES / f"{name}.tests.yaml"
    said = Said(capsys, "test", str(EXAMPLES / f"{name}.yaml"), str(cases))
    assert said.out == f"{cases.read_text('utf-8').count('- name: ')} passed, 0 failed\n"
    assert (said.status, said.err) == (0, "")


MISSED = """
- name: this one passes
  request: {messages: [{role: user, content: Hello}]}
  expect: {model: claude-sonnet-4}
- name: this one does not
  request: {headers: {x-router-task: summarization}, body: {messages: [{role: user, content: Hi}]}}
  state: {targets: {anthropic/claude-haiku-3: {breaker: open}, openai/gpt-4: {breaker: open}}}
  expect:
    route: default
    task: chat
    model: claude-haiku-3
    target: anthropic/claude-haiku-3
    chain: [anthropic/claude-haiku-3, google/gemini-flash-2.0]
    rejected: {anthropic/claude-haiku-3: not_before, google/gemini-flash-2.0: capability}
    refusal: unknown_model
    status: 404
- name: nor this one
  headers: {x-router-task: chat}
  request: {model: nope, messages: [{role: user, content: Hi}]}
  expect: {chain: [openai/gpt-4o], status: 400}
"""
MISSES = """\
FAILED this one does not
    state.targets: no target is called openai/gpt-4
    route: expected default, got route-3
    task: expected chat, got summarization
    model: expected claude-haiku-3, got gemini-flash-2.0
    target: expected anthropic/claude-haiku-3, got google/gemini-flash-2.0
    chain: expected anthropic/claude-haiku-3 → google/gemini-flash-2.0, got google/gemini-flash-2.0
    refusal: expected unknown_model, got nothing
    status: expected 404, got nothing
    rejected anthropic/claude-haiku-3: expected not_before, got breaker_open
    rejected google/gemini-flash-2.0: expected capability, got not rejected
FAILED nor this one
    chain: expected openai/gpt-4o, got nothing
    status: expected 400, got 404
1 passed, 2 failed
"""


@pytest.mark.usefixtures("without_keys")
def test_a_miss_is_told_with_what_was_expected_and_what_came(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    said = Said(capsys, "test", str(SEED_FILE), write(MISSED, "cases.yaml"))
    assert (said.status, said.err) == (1, "")
    assert said.out == MISSES


STATED = """
- name: as the file has it
  request: {messages: [{role: user, content: Hello}]}
  expect: {chain: [openai/gpt-4o], rejected: {anthropic/claude-sonnet-4: breaker_open}}
- name: as this case has it
  request: {messages: [{role: user, content: Hello}]}
  state: {targets: {anthropic/claude-sonnet-4: {breaker: closed}}}
  expect: {chain: [anthropic/claude-sonnet-4, openai/gpt-4o]}
"""


@pytest.mark.usefixtures("without_keys")
def test_a_cases_own_state_is_on_top_of_that_of_all_cases(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    words = ("test", str(SEED_FILE), write(STATED, "cases.yaml"))
    said = Said(capsys, *words, "--state", write(STATE, "state.yaml"))
    assert (said.status, said.out, said.err) == (0, "2 passed, 0 failed\n", "")
    assert Said(capsys, *words).status == 1


def test_misses_as_json_name_every_case(capsys: pytest.CaptureFixture[str], write: Writing) -> None:
    said = Said(capsys, "test", str(SEED_FILE), write(MISSED, "cases.yaml"), "--json")
    assert (said.status, said.err) == (1, "")
    first, second, third = json.loads(said.out)
    assert first == {"name": "this one passes", "misses": []}
    assert len(second["misses"]) == 10
    assert third["misses"] == MISSES.replace("    ", "").splitlines()[-3:-1]


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ("[{name: a, request: {}, expekt: {}}]", "[0].expekt: unknown key; did you mean expect?"),
        ("{}", "cases.yaml: not a list; write a list of cases"),
        ("[{name: a, request: {body: {}, path: 3}, expect: {}}]", "a: request: not an object of"),
    ],
)
def test_cases_that_can_not_be_read_are_told_as_a_configs_mistakes_are(
    cases: str, expected: str, capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    said = Said(capsys, "test", str(SEED_FILE), write(cases, "cases.yaml"))
    assert (said.status, said.out) == (1, "")
    assert expected in said.err


# diff


DIFFERENCE = """\
request 1: anthropic/claude-sonnet-4 → openai/gpt-4o-mini, $0.003774 → $0.000151
request 2: refused (model_not_found) → openai/gpt-4o-mini, unknown → $0.000151
2 of 4 requests move; expected cost $0.017316 → $0.013693 (-20.9 %), \
without 2 whose cost is unknown
"""


@pytest.mark.usefixtures("without_keys")
def test_diff_tells_which_requests_move_and_what_that_costs(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    end = "  - {match: {default: true}, model: claude-sonnet-4}\n"
    old = write("routes:\n" + end, "old.yaml")
    new = write("routes:\n  - {match: {taskType: chat}, model: gpt-4o-mini}\n" + end, "new.yaml")
    lines = [HELLO, {"model": "gpt-4o-mini"} | HELLO, {}, REQUEST]
    told = [line | {"metadata": {"task_type": "chat"}} for line in lines[:3]] + [REQUEST]
    requests = write("\n".join(map(json.dumps, told)), "requests.jsonl")
    said = Said(capsys, "diff", old, new, requests)
    assert (said.status, said.err) == (0, "")
    assert said.out == DIFFERENCE
    as_json = json.loads(Said(capsys, "diff", old, new, requests, "--json").out)
    assert as_json["requests"] == 4
    assert as_json["moved"][0] == {
        "request": 1,
        "before": "anthropic/claude-sonnet-4",
        "after": "openai/gpt-4o-mini",
        "cost_before_usd": pytest.approx(0.003774),
        "cost_after_usd": pytest.approx(0.000151, abs=1e-6),
    }
    assert [move["request"] for move in as_json["moved"]] == [1, 2]
    assert as_json["cost_after_usd"] < as_json["cost_before_usd"]
    assert as_json["uncounted"] == 2


COUNTED = """models: {mine: {targets: [{provider: openai, upstreamModel: gpt-4o}]}}
routes: [{match: {default: true}, model: MODEL}]
"""


def test_a_count_that_the_router_makes_itself_is_no_refusal_and_goes_to_nobody(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    request = json.dumps({"path": "/v1/messages/count_tokens", "body": HELLO})
    here, there = (
        write(COUNTED.replace("MODEL", model), f"{model}.yaml")
        for model in ("mine", "claude-sonnet-4")
    )
    told = Said(capsys, "explain", here, write(request, "request.json"))
    assert (told.status, told.err) == (0, "")
    assert told.out.endswith(
        "why       no target counts tokens, so the router's own estimate is the answer\n"
    )
    assert "chain" not in told.out
    assert "refused" not in told.out
    moved = Said(capsys, "diff", here, there, write(request, "requests.jsonl"))
    assert (moved.status, moved.err) == (0, "")
    assert moved.out == (
        "request 1: counted here → anthropic/claude-sonnet-4, $0.000000 → $0.000000\n"
        "1 of 1 requests move; expected cost $0.000000 → $0.000000\n"
    )


def test_diff_of_a_config_with_itself_moves_nothing(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    requests = write(f"{json.dumps(HELLO)}\n{json.dumps(REQUEST)}\n", "requests.jsonl")
    said = Said(capsys, "diff", str(SEED_FILE), str(SEED_FILE), requests)
    assert said.status == 0
    assert said.out.startswith("0 of 2 requests move; expected cost $")
    assert said.out.endswith("(+0.0 %)\n")
    assert Said(capsys, "diff", str(SEED_FILE), str(SEED_FILE), write("", "none")).out == (
        "0 of 0 requests move; expected cost $0.000000 → $0.000000\n"
    )


@pytest.mark.parametrize(
    ("requests", "expected"),
    [(None, "can't be read (No such file"), ('\n{"body": {}, "path": 3}', "line 2: not an object")],
)
def test_requests_that_diff_can_not_read_are_one_line(
    requests: str | None,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    write: Writing,
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "absent") if requests is None else write(requests, "requests.jsonl")
    said = Said(capsys, "diff", str(SEED_FILE), str(SEED_FILE), path)
    assert (said.status, said.out) == (1, "")
    assert expected in said.err


def test_diff_says_which_of_two_files_is_wrong(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    requests, wrong = write("", "none"), write("routes: []", "wrong.yaml")
    for files in ((str(SEED_FILE), wrong), (wrong, str(SEED_FILE))):
        said = Said(capsys, "diff", *files, requests)
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith(f"{wrong}: routes: no catch-all; ")
    absent = f"{wrong}.not"
    assert Said(capsys, "diff", absent, wrong, requests).err.startswith(f"{absent}: can't be read")


def test_a_state_may_name_targets_that_one_of_two_configs_has(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    new = write("routes: [{match: {default: true}, model: o3}]", "new.yaml")
    words = ("diff", str(SEED_FILE), new, write("", "none"), "--state")
    both = "targets: {openai/o3: {}, openai/gpt-4o: {}, openai/gpt-5: {}}"
    said = Said(capsys, *words, write(both, "state.yaml"))
    assert said.status == 1
    assert said.err.count("no target is called") == said.err.count("openai/gpt-5;") == 1


def test_flags_may_stand_before_arguments_and_between_them(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    request = write(json.dumps(HELLO), "request.json")
    words = ["--json", "--seed", "1"]
    said = [
        Said(capsys, "explain", *order)
        for order in (
            [str(SEED_FILE), request, *words],
            [*words, str(SEED_FILE), request],
            [str(SEED_FILE), *words, request],
        )
    ]
    assert {one.status for one in said} == {0}
    assert len({one.out for one in said}) == 1


# envoy


def test_envoy_writes_a_configuration_for_all_and_secrets_for_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = tmp_path / "deep" / "envoy"
    said = Said(capsys, "envoy", str(SEED_FILE), "-o", str(directory))
    assert (said.status, said.out) == (0, "")
    assert said.err == f"wrote {directory}/envoy.json and 3 secrets\n"
    written = {str(p.relative_to(directory)): mode(p) for p in directory.rglob("*")}
    assert {name: mode for name, mode in written.items() if not name.startswith("secrets/")} == {
        **dict.fromkeys(
            ("envoy.json", "deployment.json", "cds.json", "lds.json", "rds.json"), 0o644
        ),
        **dict.fromkeys(("filter-scrub.json", "filter-provider.json"), 0o644),
        "secrets": 0o700,
    }
    secrets = {name: mode for name, mode in written.items() if name.startswith("secrets/")}
    assert len(secrets) == 3
    assert set(secrets.values()) == {0o600}
    config = "".join(path.read_text("utf-8") for path in directory.glob("*.json"))
    texts = [(directory / name).read_text("utf-8") for name in secrets]
    for key in KEYS.values():
        assert key not in config
        assert sum(key in text for text in texts) == 1


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_envoy_written_again_replaces_what_was_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def texts() -> dict[str, str]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path): path.read_text("utf-8") for path in files}

    Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path))
    before = texts()
    (tmp_path / "secrets").chmod(0o755)
    monkeypatch.setenv("OPENAI_API_KEY", "another-secret")
    assert Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path)).status == 0
    after = texts()
    assert after.keys() == before.keys()
    (changed,) = (name for name in after if after[name] != before[name])
    assert "another-secret" in after[changed]
    assert mode(tmp_path / "secrets") == 0o700


def test_envoy_may_see_the_files_elsewhere_than_they_are_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path), "--as", "/etc/envoy/llm")
    texts = {path.name: path.read_text("utf-8") for path in tmp_path.glob("*.json")}
    assert not any(str(tmp_path) in text for text in texts.values())
    named = set(re.findall(r'"path": ?"(/etc/envoy/llm/[^"]+)"', "".join(texts.values())))
    written = {
        str(Path("/etc/envoy/llm", p.relative_to(tmp_path))) for p in tmp_path.rglob("*.json")
    }
    assert written - named == {"/etc/envoy/llm/envoy.json", "/etc/envoy/llm/deployment.json"}
    assert named <= written
    elsewhere = ["--as", "/etc/envoy/llm", "--secrets-dir", "/run/keys"]
    Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path), *elsewhere)
    assert (
        '"/run/keys/openai@api.openai.com.json"' in (tmp_path / "filter-provider.json").read_text()
    )


def test_envoy_without_a_directory_prints_the_configuration_and_no_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Said(capsys, "envoy", str(SEED_FILE))
    assert said.status == 0
    config = json.loads(said.out)
    assert config["static_resources"]["clusters"]
    assert not any(key in said.out for key in KEYS.values())


def test_envoy_reads_the_metadata_that_the_router_writes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = Said(capsys, "envoy", str(SEED_FILE)).out
    assert json.dumps(CHAIN_NAMESPACE) in config
    assert json.dumps(PLAN_NAMESPACE) in config


def test_envoy_warns_of_each_credential_that_is_missing_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    said = Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path))
    assert said.status == 0
    assert said.err.splitlines() == [
        "openai: OPENAI_API_KEY is not set; Envoy will send it no credential",
        f"wrote {tmp_path}/envoy.json and 2 secrets",
    ]


BEDROCK = """\
providers: { bedrock: { baseUrl: 'https://bedrock-runtime.eu-west-1.amazonaws.com' } }
models: { m: { targets: [{ provider: bedrock }], contextWindow: 9 } }
routes: [{ match: { default: true }, model: m }]
"""
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE00001", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0"}


@pytest.fixture
def _awss_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_awss_own_keys")
def test_envoy_writes_a_key_to_sign_with_for_an_envoy_that_may_see_it_elsewhere(
    capsys: pytest.CaptureFixture[str], write: Writing, tmp_path: Path
) -> None:
    config, directory = write(BEDROCK), tmp_path / "envoy"
    said = Said(capsys, "envoy", config, "-o", str(directory), "--as", "/etc/envoy/llm")
    assert (said.status, said.err) == (0, f"wrote {directory}/envoy.json and 1 secrets\n")
    (file,) = (directory / "secrets").iterdir()
    assert mode(file) == 0o600
    assert all(value in file.read_text("utf-8") for value in AWS.values())
    told = "".join(path.read_text("utf-8") for path in directory.glob("*.json"))
    assert f'"filename": "/etc/envoy/llm/secrets/{file.name}"' in told
    for args in ([], ["--snippet"]):
        printed = Said(capsys, "envoy", config, *args).out
        assert printed
        assert not any(value in printed + told for value in AWS.values())


@pytest.mark.usefixtures("_awss_own_keys")
def test_check_names_both_ways_to_a_key_of_bedrock(
    capsys: pytest.CaptureFixture[str], write: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(BEDROCK)
    assert Said(capsys, "check", config).status == 0
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_BEARER_TOKEN_BEDROCK or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is not set" in (
        Said(capsys, "check", config).err
    )


def test_envoy_tells_errors_as_check_does(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    said = Said(capsys, "envoy", write("routes: []"))
    assert (said.status, said.out) == (1, "")
    assert said.err == "routes: no catch-all; end with a route that matches `default: true`\n"


def test_envoy_into_a_place_that_is_no_directory_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = Said(capsys, "envoy", str(SEED_FILE), "-o", str(tmp_path / "file"))
    assert (said.status, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1
    assert str(tmp_path / "file") in said.err


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--port", "0"], "'0' is not a port"),
        (["--port", "65536"], "'65536' is not a port"),
        (["--port", "http"], "'http' is not a port"),
        (["--router", "nowhere"], "'nowhere' is neither host:port nor unix:/path"),
        (["--router", "host:0"], "'0' is not a port"),
    ],
)
def test_a_flag_that_makes_no_sense_is_a_usage_error(
    flags: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, "envoy", str(SEED_FILE), *flags)
    assert said.status == 2
    assert what in said.err


# up


def test_up_without_a_config_says_what_to_do_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = Said(capsys, "up")
    assert (said.status, said.out) == (1, "")
    assert said.err == "no CONFIG is named, and config/seed.yaml is not here; name your config\n"


# The words around the commands


def test_help_lists_the_commands_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--help")
    assert (said.status, said.err) == (0, "")
    listed = [line.split()[0] for line in said.out.splitlines() if line.startswith("    ")]
    assert set(COMMANDS) <= set(listed)


COMMANDS = ["up", "serve", "check", "explain", "test", "diff", "envoy"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, command, "--help")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"usage: extproc {command} ")
    assert ("CONFIG" in said.out) == (command != "diff")
    assert "OLD NEW REQUESTS.jsonl" in said.out or command != "diff"


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--version")
    assert (said.status, said.out) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["chek"], "invalid choice: 'chek'"),
        (["check"], "the following arguments are required: CONFIG"),
        (["check", "a", "b"], "unrecognized arguments: b"),
        (["check", "a", "--verbose"], "unrecognized arguments: --verbose"),
        (["serve", "a", "--admin-port", "x"], "'x' is not a port"),
    ],
)
def test_a_mistake_in_usage_is_a_2_with_a_word_on_it(
    argv: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, *argv)
    assert (said.status, said.out) == (2, "")
    assert what in said.err


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "extproc"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"{__version__}\n"
    check = [*command, "check", os.devnull]
    empty = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (empty.returncode, empty.stdout) == (1, "")
    assert empty.stderr.startswith("config: not a mapping; ")

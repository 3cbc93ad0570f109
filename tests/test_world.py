"""What `explain`, `test` and `diff` are told of the world: state files, cases, time and chance."""

import json
from pathlib import Path

import pytest

from extproc.command_line import main
from extproc.command_line.world import DEFAULT_NOW, World
from extproc.config import ConfigError
from extproc.config.world import StateSection, read_cases, read_state
from extproc.policy.draw import DRAW_BITS
from extproc.state.view import EMPTY_VIEW, Breaker, TargetView, View
from extproc.text.tokens import Calibration, Family, Output
from extproc.vocabulary import TargetId

STATE = """
targets:
  openai/gpt-4o:
    breaker: half_open
    probing: true
    notBefore: 1767225600
    requestsLeft: 12
    tokensLeft: 3.5
    ttfbMs: 310
    msPerToken: 12.5
    spiking: true
    cachedShare: 0.25
    inputTokensLeft: 900
    outputTokensLeft: 90
    pending: 2
    stale: true
    silent: true
    slowStart: 0.4
calibration: { claude: 1.2 }
outputTokens: { chat: 180 }
"""
EXPECTED = View(
    targets={
        TargetId("openai/gpt-4o"): TargetView(
            breaker=Breaker.HALF_OPEN,
            probing=True,
            not_before=1767225600,
            requests_left=12,
            tokens_left=3.5,
            ttfb_ms=310,
            ms_per_token=12.5,
            spiking=True,
            cached_share=0.25,
            input_tokens_left=900,
            output_tokens_left=90,
            pending=2,
            stale=True,
            silent=True,
            slow_start=0.4,
        )
    },
    calibration={Family.CLAUDE: Calibration(1.2)},
    output={"chat": Output(180)},
)


def file(directory: Path, text: str) -> Path:
    path = directory / "file.yaml"
    path.write_text(text, "utf-8")
    return path


def problem(directory: Path, text: str, *, cases: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        (read_cases if cases else read_state)(file(directory, text))
    told = str(caught.value)
    assert all(line.startswith(f"{directory}/file.yaml: ") for line in told.splitlines())
    return told.removeprefix(f"{directory}/file.yaml: ")


# State


def test_a_state_file_says_all_that_can_be_seen_of_a_target(tmp_path: Path) -> None:
    assert set(TargetView.__slots__) == set(EXPECTED.targets[TargetId("openai/gpt-4o")].__slots__)
    assert read_state(file(tmp_path, STATE)).view() == EXPECTED


def test_a_state_may_be_written_in_snake_case_or_as_json(tmp_path: Path) -> None:
    snake = STATE
    for section in (StateSection, StateSection.model_fields["targets"].annotation.__args__[1]):  # type: ignore[union-attr]
        for name, field in section.model_fields.items():
            snake = snake.replace(f"{field.alias}:", f"{name}:")
    assert "ms_per_token: 12.5" in snake
    assert read_state(file(tmp_path, snake)).view() == EXPECTED
    targets = {"a/b": {"breaker": "open"}}
    opened = {TargetId("a/b"): TargetView(breaker=Breaker.OPEN)}
    read = read_state(file(tmp_path, json.dumps({"targets": targets})))
    assert read.view() == View(targets=opened)


def test_an_empty_object_is_a_world_of_which_nothing_was_seen(tmp_path: Path) -> None:
    assert read_state(file(tmp_path, "{}")).view() == EMPTY_VIEW
    view = read_state(file(tmp_path, "targets: {a/b: {}}")).view()
    assert view.of(TargetId("a/b")) == TargetView()


def test_a_state_over_another_says_more_of_the_same_world(tmp_path: Path) -> None:
    below = "{targets: {a/b: {ttfbMs: 300, breaker: open}, a/c: {pending: 2}}, "
    below += "calibration: {gemini: 2, claude: 1.1}, outputTokens: {chat: 90}}"
    above = "{targets: {a/b: {breaker: closed}, a/d: {spiking: true}}, calibration: {claude: 1.2}}"
    one, other = (read_state(file(tmp_path, text)) for text in (below, above))
    assert other.over(one).view() == View(
        targets={
            TargetId("a/b"): TargetView(ttfb_ms=300),
            TargetId("a/c"): TargetView(pending=2),
            TargetId("a/d"): TargetView(spiking=True),
        },
        calibration={Family.GEMINI: Calibration(2), Family.CLAUDE: Calibration(1.2)},
        output={"chat": Output(90)},
    )
    assert StateSection().over(one) == one == one.over(StateSection())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tragets: {}", "tragets: unknown key; did you mean targets?"),
        (
            "targets: {a/b: {braker: open}}",
            "targets.a/b.braker: unknown key; did you mean breaker?",
        ),
        (
            "targets: {a/b: {breaker: shut}}",
            "targets.a/b.breaker: not one of the values; use 'closed', 'open' or 'half_open'",
        ),
        ("targets: {a/b: {ttfbMs: fast}}", "targets.a/b.ttfbMs: not right; input should be"),
        ("targets: {a/b: {ttfbMs: -1}}", "targets.a/b.ttfbMs: not right; input should be greater"),
        ("targets: {a/b: {cachedShare: 2}}", "targets.a/b.cachedShare: not right; input should be"),
        ("calibration: {gpt: 1}", "calibration.gpt"),
        ("[]", "not right; input should be an object"),
        ("", "not right; input should be an object"),
        ("a: [", "line 1, column 5: "),
        ("targets: &t {a/b: *t}", "holds itself; write out what the alias stands for"),
        (
            "targets: {2026-01-01: {}}",
            "targets.2026-01-01: holds a value that JSON has no word for; quote",
        ),
    ],
)
def test_what_is_wrong_with_a_state_is_told_with_its_path(
    text: str, expected: str, tmp_path: Path
) -> None:
    assert problem(tmp_path, text).startswith(expected)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    for read in (read_state, read_cases):
        with pytest.raises(ConfigError, match=r"absent.yaml: can't be read \(No such file"):
            read(tmp_path / "absent.yaml")
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="binary: not UTF-8; save it as UTF-8"):
            read(tmp_path / "binary")


# Cases

CASE = "{name: a, request: {messages: []}, expect: {}}"


def test_what_a_case_does_not_say_is_not_looked_at(tmp_path: Path) -> None:
    (case,) = read_cases(file(tmp_path, f"[{CASE}]"))
    assert (case.name, case.headers, case.state.view()) == ("a", {}, EMPTY_VIEW)
    assert case.expect.model_fields_set == set()
    (case,) = read_cases(file(tmp_path, "[{name: a, request: {}, expect: {}, state: }]"))
    assert case.state.view() == EMPTY_VIEW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "not a list; write a list of cases"),
        (f"[{CASE}, {CASE}]", "a: names two cases; give each its own name"),
        ("[{name: a, request: {}}]", "[0].expect: missing; it is required"),
        ("[{name: a, expect: {}}]", "[0].request: missing; it is required"),
        (f"[{CASE}, {{request: {{}}, expect: {{}}}}]", "[1].name: missing; it is required"),
        ("[{name: a, request: {}, expects: {}}]", "[0].expects: unknown key; did you mean expect?"),
        (
            "[{name: a, request: {}, expect: {modle: b}}]",
            "[0].expect.modle: unknown key; did you mean model?",
        ),
        (
            "[{name: a, request: {}, expect: {rejected: {a/b: tired}}}]",
            "[0].expect.rejected.a/b: not one of the values; use 'capability', 'context_window'",
        ),
        (
            "[{name: a, request: {}, expect: {}, state: {targets: {a/b: {probe: 1}}}}]",
            "[0].state.targets.a/b.probe: unknown key; did you mean probing?",
        ),
        ("[{name: a, request: {}, expect: {chain: a/b}}]", "[0].expect.chain: not right"),
        ("[a]", "[0]: not right; input should be an object"),
    ],
)
def test_what_is_wrong_with_a_case_is_told_with_its_path(
    text: str, expected: str, tmp_path: Path
) -> None:
    assert expected in problem(tmp_path, text, cases=True)


# Time and chance


def test_each_request_of_a_file_draws_anew_and_the_same_again() -> None:
    one, other = (World(StateSection(), DEFAULT_NOW, seed) for seed in ("0", "1"))
    draws = [world.draw(number) for world in (one, other) for number in range(1000)]
    assert len(set(draws)) == 2000
    assert all(0 <= draw < 2**DRAW_BITS for draw in draws)
    assert draws[:1000] == [one.draw(number) for number in range(1000)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"),
        ("2026-05-01T12:00:00+02:00", "2026-05-01T10:00:00Z"),
        ("2026-05-01", "2026-05-01T00:00:00Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("1767225600.5", "2026-01-01T00:00:00Z"),
    ],
)
def test_now_is_a_date_or_unix_seconds(
    written: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("routes: [{match: {default: true}, model: gpt-4o}]", "utf-8")
    request = file(tmp_path, '{"messages": [{"role": "user", "content": "Hello"}]}')
    assert main(["explain", str(config), str(request), "--json", "--now", written]) == 0
    assert json.loads(capsys.readouterr().out)["time"] == expected


@pytest.mark.parametrize("written", ["nan", "inf", "1e30", "-5", "yesterday", "2026-13-01", ""])
def test_what_is_no_time_is_a_usage_error(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "config", "request", f"--now={written}"])
    assert ended.value.code == 2
    assert f"argument --now: {written!r} is no" in capsys.readouterr().err

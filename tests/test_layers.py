"""The rules of ARCHITECTURE.md on who may import, print and read what, held against the code."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "extproc"
GENERATED = "extproc.wire.pb"

VALUES = frozenset({"snapshot", "vocabulary", "outcome", "access_log", "feature", "price", "text"})

# From the top down: a room and the rooms whose modules it may import, beside its own.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "command_line": VALUES
    | {"servers", "config", "envoy_config", "explain", "record", "policy", "state"},
    "servers": VALUES
    | {
        "http2",
        "wire",
        "envoy_config",
        "explain",
        "exchange",
        "decide",
        "settle",
        "record",
        "policy",
    }
    | {"plan", "state"},
    "wire": VALUES | {"exchange", "plan"},
    "config": VALUES | {"policy", "dialects", "state"},
    "envoy_config": VALUES | {"dialects"},
    "explain": VALUES | {"exchange", "plan", "decide", "state"},
    "exchange": VALUES
    | {"decide", "limit_headers", "plan", "translation", "policy", "dialects", "state"},
    "limit_headers": VALUES | {"state"},
    "plan": VALUES | {"policy", "dialects"},
    "translation": VALUES | {"dialects"},
    "decide": VALUES | {"policy", "dialects", "state"},
    "policy": VALUES | {"dialects", "state"},
    "dialects": VALUES,
    "settle": VALUES,
    "record": VALUES,
    "state": VALUES,
    "snapshot": frozenset({"vocabulary", "text", "feature"}),
    "outcome": frozenset({"vocabulary"}),
    "access_log": frozenset(),
    "http2": frozenset(),
    "vocabulary": frozenset({"text", "price", "feature"}),
    "text": frozenset({"feature"}),
    "price": frozenset(),
    "feature": frozenset(),
    # Providers for tests and for `up`, in a process of their own: no part of the router.
    "stand_in": frozenset(),
}
PURE = (
    frozenset(
        [
            "exchange",
            "limit_headers",
            "plan",
            "translation",
            "decide",
            "settle",
            "policy",
            "dialects",
            "state",
            "http2",
        ]
    )
    | VALUES
)

IMPURE = frozenset(
    [
        "aiohttp",
        "asyncio",
        "concurrent",
        "ctypes",
        "datetime",
        "envoy_data_plane",
        "google.protobuf",
        "grpc",
        "http",
        "io",
        "locale",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "pydantic",
        "random",
        "requests",
        "ruamel",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
        "uvloop",
    ]
)


def name_of(path: Path) -> str:
    parts = ("extproc", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> Mapping[str, ast.Module]:
    """Every module that somebody wrote, by name."""
    written = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        name: ast.parse(path.read_text("utf-8"), str(path))
        for name, path in written.items()
        if not name.startswith(GENERATED)
    }


def room_of(module: str) -> str:
    """`extproc.config.file` → `config`; the package itself belongs to nobody: the empty name."""
    room = module.removeprefix("extproc").removeprefix(".").partition(".")[0]
    return "command_line" if room == "__main__" else room


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """What `module` imports anywhere, `if TYPE_CHECKING` included; submodules by their own name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if is_module(full) else node.module


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def is_within(module: str, packages: frozenset[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[: i + 1]) in packages for i in range(len(parts)))


MODULES = sorted(sources())
PURE_MODULES = [module for module in MODULES if room_of(module) in PURE]


def test_every_room_stands_in_the_table_of_layers() -> None:
    assert {room_of(module) for module in MODULES} - {""} <= set(MAY_IMPORT)


def test_the_table_of_layers_points_downwards_only() -> None:
    rank = {room: height for height, room in enumerate(MAY_IMPORT)}
    upwards = [
        f"{room} → {other}"
        for room, others in MAY_IMPORT.items()
        for other in others
        if rank[other] <= rank[room]
    ]
    assert not upwards


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards_only(module: str) -> None:
    allowed = MAY_IMPORT.get(room_of(module), frozenset()) | {room_of(module), ""}
    ours = [name for name in imported(module, sources()[module]) if name.startswith("extproc")]
    assert [name for name in ours if room_of(name) not in allowed] == []


def test_no_module_imports_itself_in_a_roundabout_way() -> None:
    graph = {name: set(imported(name, tree)) - {name} for name, tree in sources().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("module", PURE_MODULES)
def test_from_the_exchange_down_nothing_touches_the_world(module: str) -> None:
    assert [name for name in imported(module, sources()[module]) if is_within(name, IMPURE)] == []


@pytest.mark.parametrize("module", PURE_MODULES)
def test_from_the_exchange_down_nothing_opens_prints_or_imports_by_name(module: str) -> None:
    calls = {
        node.func.id
        for node in ast.walk(sources()[module])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "compile", "__import__"}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_wire_knows_generated_code(module: str) -> None:
    if room_of(module) == "wire":
        return
    generated = frozenset({GENERATED})
    assert [
        name for name in imported(module, sources()[module]) if is_within(name, generated)
    ] == []


@pytest.mark.parametrize("module", MODULES)
def test_only_the_command_line_prints_or_reads_the_environment(module: str) -> None:
    if room_of(module) == "command_line":
        return
    found = []
    for node in ast.walk(sources()[module]):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                found.append(f"print at line {node.lineno}")
            case ast.Attribute(attr="environ" | "environb" | "getenv" | "putenv" as read):
                found.append(f"{read} at line {node.lineno}")
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as stream):
                if module != "extproc.stand_in.__main__":  # a command line of its own
                    found.append(f"{stream} at line {node.lineno}")
            case ast.ImportFrom(module="os", names=names):
                found += [a.name for a in names if a.name in {"environ", "environb", "getenv"}]
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(sources()[module])


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "extproc.exchange",
            "aiohttp envoy_data_plane google.protobuf grpc pydantic ruamel uvloop",
        ),
        ("extproc.wire.ext_proc", "aiohttp envoy_data_plane grpc pydantic ruamel uvloop"),
        # Building Envoy's messages costs a second and 40 MB, which the router does without.
        (
            "extproc.command_line.serve",
            "betterproto2 envoy_data_plane extproc.stand_in opentelemetry.sdk",
        ),
        # OpenTelemetry is optional, and nothing of it is loaded where it is not configured.
        ("extproc.servers.telemetry", "opentelemetry requests"),
    ],
)
def test_what_a_module_does_not_need_is_not_loaded_with_it(module: str, unwanted: str) -> None:
    program = f"import sys, {module}; print(*sys.modules.keys() & {set(unwanted.split())!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []

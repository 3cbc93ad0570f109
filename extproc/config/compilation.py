"""`ConfigFile` → Snapshot: every name resolved, every reference checked, nothing left to find out.

Problems are collected, so that one run of `extproc check` shows them all.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from extproc.config.catalog import aliases, catalog
from extproc.config.file import ConfigFile, MatchSection, ModelSection, ProviderSection
from extproc.config.presets import PRESETS, Preset
from extproc.config.problems import ConfigError, Problem, nearest, path_of
from extproc.snapshot import HealthCheck, Match, Passthrough, Route, Snapshot, TokenRange
from extproc.vocabulary import (
    Model,
    ModelName,
    Provider,
    ProviderName,
    Target,
    TargetId,
    UpstreamModel,
)

GUARDS_MAX: Final = 500
"""Guard clusters beyond this cost Envoy more memory than skipping an attempt saves (ADR 2)."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,126}")
_MODEL_NAME_REMEDY: Final = "use letters, digits and . _ : @ / -, not `auto`"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

# What the data plane sets for every attempt: a provider's own would be scrubbed from all others.
_OWN_HEADERS: Final = {
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-request-id",
}
_OWN_PREFIXES: Final = (":", "x-envoy-", "x-router-", "x-llm-")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A config that can run.

    The keys are beside the Snapshot, not in it: the Snapshot may be shown, they may not.
    `missing_keys` names, per provider that needs a key and has none, where it was looked for.
    """

    snapshot: Snapshot
    keys: Mapping[ProviderName, str] = field(repr=False)
    missing_keys: Mapping[ProviderName, str]


@dataclass(slots=True)
class _Compilation:
    """One run: the file, the environment, what is resolved so far and what was found wrong."""

    file: ConfigFile
    env: Mapping[str, str]
    base_urls: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    providers: dict[ProviderName, Provider | None] = field(default_factory=dict)
    keys: dict[ProviderName, str] = field(default_factory=dict)
    missing_keys: dict[ProviderName, str] = field(default_factory=dict)
    models: dict[ModelName, tuple[Target, ...]] = field(default_factory=dict)
    resolving: dict[str, ModelName] = field(default_factory=dict)

    def problem(self, location: Iterable[str | int], what: str, remedy: str) -> None:
        self.problems.append(Problem(path_of(location), what, remedy))


def compile_config(
    file: ConfigFile, env: Mapping[str, str], base_urls: Mapping[str, str] | None = None
) -> Compiled:
    """The running form of `file`. `env` supplies the presets' keys.

    `base_urls` replaces where the named providers are; `extproc up` points them to stand-ins.

    Raises:
        ConfigError: with every name that does not resolve.

    """
    run = _Compilation(file, env, base_urls or {})
    for name in file.providers:
        _provider(run, name, ("providers", name))
    for name in file.models:
        _targets(run, name, ("models", name))
    routes = tuple(_route(run, index) for index in range(len(file.routes)))
    _check_order(run)
    _check_names(run, routes)
    offered = tuple(run.models)
    names = _requestable(run)
    passthrough = _passthrough(run)
    if run.problems:
        raise ConfigError(run.problems)
    targets = {target.id: target for model in run.models.values() for target in model}
    depth, windows = _guard_windows(_orders(routes, run.models.values()), file.max_attempts)
    snapshot = Snapshot(
        config=_digest(file),
        providers=MappingProxyType({t.provider.name: t.provider for t in targets.values()}),
        targets=MappingProxyType(targets),
        models=MappingProxyType(names),
        offered=offered,
        routes=routes,
        guard_windows=windows,
        guard_depth=depth,
        max_attempts=file.max_attempts,
        first_byte_timeout_s=file.first_byte_timeout,
        body_bytes_max=file.body_bytes_max,
        honour_requested_model=file.requested_model == "honour",
        allow_unknown_capability=file.unknown_capability == "allow",
        allowed_overrides=frozenset(file.overrides.allow),
        decision_timeout_s=file.server.decision_timeout,
        drain_timeout_s=file.server.drain_timeout,
        health_check=HealthCheck(
            enabled=file.health_check.enabled,
            interval_s=file.health_check.interval,
            error_rate_threshold=file.health_check.error_rate_threshold,
        ),
        passthrough=passthrough,
    )
    used = snapshot.providers
    return Compiled(
        snapshot,
        keys=MappingProxyType({name: key for name, key in run.keys.items() if name in used}),
        missing_keys=MappingProxyType(
            {name: key for name, key in run.missing_keys.items() if name in used}
        ),
    )


def _digest(file: ConfigFile) -> str:
    """Of what the file says, so that comments and order of keys make no difference."""
    content = file.model_dump(mode="json", exclude_unset=True)  # a SecretStr is dumped as stars
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _provider(run: _Compilation, name: str, location: tuple[str | int, ...]) -> Provider | None:
    """The provider called `name`, declared in the file or implied by a preset of that name.

    None where that is not possible; what is wrong is said once, however often it is named.
    """
    known = ProviderName(name)
    if known not in run.providers:
        section = run.file.providers.get(name)
        if section is None and name not in PRESETS:
            remedy = nearest(name, [*run.file.providers, *PRESETS])
            run.problem(location, f"no provider is called {name}", remedy)
            return None
        if not _NAME.fullmatch(name):
            run.problem(location, "not a provider name", "use letters, digits, `.`, `_` and `-`")
            return None
        run.providers[known] = _new_provider(run, known, section or ProviderSection(), location)
    return run.providers[known]


def _new_provider(
    run: _Compilation, name: ProviderName, section: ProviderSection, location: tuple[str | int, ...]
) -> Provider | None:
    preset = _preset(run, name, section, location)
    if preset is None:
        return None
    where = _base_url(run, name, section, preset, (*location, "baseUrl"))
    if where is None:
        return None
    return Provider(
        name=name,
        host=where.host,
        port=where.port,
        tls=where.tls,
        base_path=where.base_path,
        credential_header=preset.credential_header,
        credential_prefix=preset.credential_prefix,
        has_credential=_key(run, name, section, preset) is not None,
        headers=_headers(run, section, (*location, "headers")),
        first_byte_timeout_s=section.first_byte_timeout,
        region=section.region,
    )


def _preset(
    run: _Compilation, name: ProviderName, section: ProviderSection, location: tuple[str | int, ...]
) -> Preset | None:
    wanted = section.preset or (name if name in PRESETS else None)
    if wanted is None:
        return Preset(None, (), key_required=False)
    if wanted not in PRESETS:
        remedy = nearest(wanted, PRESETS)
        run.problem((*location, "preset"), f"no preset is called {wanted}", remedy)
        return None
    return PRESETS[wanted]


def _base_url(
    run: _Compilation,
    name: ProviderName,
    section: ProviderSection,
    preset: Preset,
    location: tuple[str | int, ...],
) -> Passthrough | None:
    written = run.base_urls.get(name) or section.base_url or preset.base_url
    if written is None:
        example = preset.base_url_example or "https://api.example.com/v1"
        run.problem(location, "missing", f"write it, such as {example}")
        return None
    return _url(run, written, location)


def _headers(
    run: _Compilation, section: ProviderSection, location: tuple[str | int, ...]
) -> Mapping[str, str]:
    for header, value in section.headers.items():
        at = (*location, header)
        if not _HEADER_NAME.fullmatch(header):
            run.problem(at, "not a header name", "use letters, digits and `-`")
        elif header.lower() in _OWN_HEADERS or header.lower().startswith(_OWN_PREFIXES):
            run.problem(at, "is set by Envoy or by the client", "leave it out")
        if not value.isascii() or not value.isprintable():
            run.problem(at, "holds characters that a header can't", "use printable ASCII")
    return MappingProxyType({name.lower(): value for name, value in section.headers.items()})


def _key(
    run: _Compilation, name: ProviderName, section: ProviderSection, preset: Preset
) -> str | None:
    """The provider's key; where one is wanted and there is none, that is noted."""
    if "api_key" in section.model_fields_set:
        key = section.api_key.get_secret_value() if section.api_key else ""
        where = "the variable in apiKey"
        wanted = True
    else:
        key = next((run.env[k] for k in preset.key_names if run.env.get(k)), "")
        where = " or ".join(preset.key_names)
        # A plain-text address is one's own: a real provider would not be given a key over it.
        wanted = preset.key_required and not (section.base_url or "").startswith("http://")
    if not key:
        if wanted:
            run.missing_keys[name] = where
        return None
    if not key.isascii() or not key.isprintable() or key.strip() != key:
        location = ("providers", name, "apiKey")
        run.problem(location, "holds characters that a header can't", "check for stray line ends")
        return None
    run.keys[name] = key
    return key


def _url(run: _Compilation, written: str, location: tuple[str | int, ...]) -> Passthrough | None:
    """Where a base URL points. Its text never enters a message: it may hold a password."""
    what = _wrong_with(written)
    if what:
        run.problem(location, what, "write a URL such as https://api.example.com/v1")
        return None
    url = urlsplit(written)
    tls = url.scheme == "https"
    port = url.port or (443 if tls else 80)
    return Passthrough(url.hostname or "", port, tls, url.path.rstrip("/"))


def _wrong_with(written: str) -> str | None:
    try:
        url = urlsplit(written)
        port = url.port
    except ValueError:
        return "not a URL"
    host = url.hostname or ""
    if url.scheme not in {"http", "https"} or not (_HOST.fullmatch(host) or _is_ip(host)):
        return "not an http:// or https:// URL with a host"
    if url.username or url.password or url.query or url.fragment:
        return "holds more than scheme, host, port and path"
    if port == 0:
        return "0 is not a port"
    if not url.path.isascii() or not url.path.isprintable() or " " in url.path:
        return "its path holds characters that must be escaped"
    return None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _targets(
    run: _Compilation, written: str, location: tuple[str | int, ...]
) -> tuple[Target, ...]:
    """The targets of the model that the file calls `written`, in order of preference.

    Two names of one catalog model are one model, under the name that came first.
    """
    name = _unaliased(run.file, written) or written
    own = aliases().get(name, name) if name not in run.file.models else name
    first = run.resolving.setdefault(own, ModelName(name))
    if first in run.models:
        return run.models[first]
    section = run.file.models.get(name, ModelSection())
    entry = catalog().get(aliases().get(name, name))
    if name not in run.file.models and entry is None:
        known = [*run.file.models, *run.file.aliases, *catalog(), *aliases()]
        run.problem(location, f"no model is called {name}", nearest(name, known))
        return ()
    if not _MODEL_NAME.fullmatch(name) or name == "auto":
        run.problem(location, "not a model name", _MODEL_NAME_REMEDY)
        return ()
    places = section.targets or (entry.targets if entry else None)
    if not places:
        run.problem(location, "not in the catalog and without targets", "say where it runs")
        return ()
    model = Model(
        name=first,
        context_window=section.context_window or (entry.context_window if entry else None),
        capabilities=MappingProxyType(
            {**(entry.capabilities if entry else {}), **section.capabilities}
        ),
    )
    found: dict[TargetId, Target] = {}
    for index, place in enumerate(places):
        at = (*location, "targets", index) if section.targets else location
        provider = _provider(run, place.provider, (*at, "provider"))
        target_id = TargetId(f"{place.provider}/{first}")
        if target_id in found:
            run.problem(at, f"{place.provider} is given twice", "keep one")
        if provider is not None:
            upstream = UpstreamModel(place.upstream_model or name)
            found[target_id] = Target(target_id, provider, model, upstream, place.weight)
    if model.context_window is None and run.file.unknown_capability == "deny":
        remedy = "write contextWindow, or `unknownCapability: allow`"
        run.problem(location, f"{name} has no known context window, so nothing fits it", remedy)
    run.models[first] = tuple(found.values())
    return run.models[first]


def _unaliased(file: ConfigFile, name: str) -> str | None:
    """What `name` stands for in the end; None for aliases that go round in a circle."""
    for _ in range(len(file.aliases) + 1):
        if name not in file.aliases:
            return name
        name = file.aliases[name]
    return None


def _route(run: _Compilation, index: int) -> Route:
    section = run.file.routes[index]
    location = ("routes", index)
    is_default = section.match.default is True
    name = section.name or ("default" if is_default else f"route-{index + 1}")
    if section.model is not None:
        candidates = _targets(run, section.model, (*location, "model"))
    else:
        candidates = _all_targets(run, section.candidates or (), (*location, "candidates"))
    fallback = _all_targets(run, section.fallback, (*location, "fallback"))
    names = [header.lower() for header in section.match.headers or {}]
    if len(set(names)) < len(names):
        twice = (*location, "match", "headers")
        run.problem(twice, "names one header twice", "case makes no difference; keep one")
    return Route(
        name=name,
        match=_match(section.match),
        candidates=candidates,
        fallback=tuple(target for target in fallback if target not in candidates),
    )


def _all_targets(
    run: _Compilation, names: Iterable[str], location: tuple[str | int, ...]
) -> tuple[Target, ...]:
    found: dict[TargetId, Target] = {}
    for index, name in enumerate(names):
        for target in _targets(run, name, (*location, index)):
            found.setdefault(target.id, target)
    return tuple(found.values())


def _match(section: MatchSection) -> Match:
    tokens = section.input_tokens
    return Match(
        default=section.default is True,
        task_types=section.task_type or (),
        requested_models=section.model or (),
        input_tokens=TokenRange(tokens.min, tokens.max) if tokens else None,
        headers=MappingProxyType({k.lower(): v for k, v in (section.headers or {}).items()}),
        paths=section.path or (),
    )


def _check_order(run: _Compilation) -> None:
    """One catch-all, and it stands last: else a request finds no route, or a route no request."""
    catch_alls = [i for i, route in enumerate(run.file.routes) if route.match.default]
    if not catch_alls:
        run.problem(("routes",), "no catch-all", "end with a route that matches `default: true`")
    for index in range(catch_alls[0] + 1 if catch_alls else 0, len(run.file.routes)):
        if catch_alls:
            run.problem(
                ("routes", index), "stands after the catch-all", "move it before, or drop it"
            )


def _check_names(run: _Compilation, routes: tuple[Route, ...]) -> None:
    seen: set[str] = set()
    for index, route in enumerate(routes):
        at = ("routes", index, "name")
        if route.name in seen:
            run.problem(at, f"{route.name} names two routes", "give each its own name")
        if not _NAME.fullmatch(route.name):
            run.problem(at, "not a route name", "use letters, digits, `.`, `_` and `-`")
        seen.add(route.name)
    for alias, name in run.file.aliases.items():
        where = ("aliases", alias)
        if alias in run.file.models or alias == "auto":
            run.problem(where, "is a model's own name", "choose another alias")
        elif not _MODEL_NAME.fullmatch(alias):
            run.problem(where, "not a model name", _MODEL_NAME_REMEDY)
        elif _unaliased(run.file, alias) is None:
            run.problem(where, "leads back to itself", "name a model")
        else:
            _targets(run, name, where)


def _requestable(run: _Compilation) -> dict[str, tuple[Target, ...]]:
    """Every name a client may ask for: models, the file's aliases, the catalog's aliases."""
    names: dict[str, tuple[Target, ...]] = {}
    for own, first in run.resolving.items():
        entry = catalog().get(own) if first not in run.file.models else None
        for name in (first, own, *(entry.aliases if entry else ())):
            names.setdefault(name, run.models.get(first, ()))
    for alias in run.file.aliases:
        names[alias] = names.get(_unaliased(run.file, alias) or alias, ())
    return names


def _passthrough(run: _Compilation) -> Passthrough | None:
    written = run.file.server.passthrough
    return _url(run, written, ("server", "passthrough")) if written else None


def _orders(
    routes: tuple[Route, ...], models: Iterable[tuple[Target, ...]]
) -> set[tuple[TargetId, ...]]:
    """Every order in which targets can be planned, before any of them drops out."""
    pinned = tuple(models)
    return {
        tuple(dict.fromkeys(target.id for target in (*first, *route.fallback)))
        for route in routes
        for first in (route.candidates, *pinned)
    }


def _guard_windows(
    orders: set[tuple[TargetId, ...]], max_attempts: int
) -> tuple[int, tuple[tuple[TargetId, ...], ...]]:
    """The deepest guards that stay within `GUARDS_MAX`, and the windows they need.

    Any target of an order may drop out (not eligible), so a window is any selection of at most
    `depth` targets that keeps the order.
    """
    windows: set[tuple[TargetId, ...]] = set()
    depth = 0
    while depth < max_attempts:
        deeper = set(windows)
        for order in orders:
            for window in combinations(order, depth + 1):
                deeper.add(window)
                if len(deeper) > GUARDS_MAX and depth:
                    return depth, tuple(sorted(windows))
        windows = deeper
        depth += 1
    return depth, tuple(sorted(windows))

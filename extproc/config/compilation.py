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
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


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
    providers: dict[ProviderName, Provider] = field(default_factory=dict)
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
    """The provider called `name`, declared in the file or implied by a preset of that name."""
    known = ProviderName(name)
    if known in run.providers:
        return run.providers[known]
    section = run.file.providers.get(name)
    if section is None and name not in PRESETS:
        remedy = nearest(name, [*run.file.providers, *PRESETS])
        run.problem(location, f"no provider is called {name}", remedy)
        return None
    section = section or ProviderSection()
    if not _NAME.fullmatch(name):
        run.problem(location, "not a provider name", "use letters, digits, `.`, `_` and `-`")
        return None
    preset_name = section.preset or (name if name in PRESETS else None)
    preset = PRESETS.get(preset_name) if preset_name else Preset(None, (), key_required=False)
    if preset is None:
        remedy = nearest(str(preset_name), PRESETS)
        run.problem((*location, "preset"), f"no preset is called {preset_name}", remedy)
        return None
    written = run.base_urls.get(name) or section.base_url or preset.base_url
    if written is None:
        example = preset.base_url_example or "https://api.example.com/v1"
        run.problem((*location, "baseUrl"), "missing", f"write it, such as {example}")
        return None
    where = _url(run, written, (*location, "baseUrl"))
    if where is None:
        return None
    key = _key(run, known, section, preset)
    headers = {header.lower(): value for header, value in section.headers.items()}
    provider = Provider(
        name=known,
        host=where.host,
        port=where.port,
        tls=where.tls,
        base_path=where.base_path,
        credential_header=preset.credential_header,
        credential_prefix=preset.credential_prefix,
        has_credential=key is not None,
        headers=MappingProxyType(headers),
        first_byte_timeout_s=section.first_byte_timeout,
        region=section.region,
    )
    run.providers[known] = provider
    return provider


def _key(
    run: _Compilation, name: ProviderName, section: ProviderSection, preset: Preset
) -> str | None:
    if section.api_key is not None:
        key: str | None = section.api_key.get_secret_value()
    elif "api_key" in section.model_fields_set:
        key = None
        run.missing_keys[name] = "the variable in apiKey"
    else:
        key = next((run.env[k] for k in preset.key_names if run.env.get(k)), None)
        # A plain-text address is one's own: a real provider would not be given a key over it.
        is_own = (section.base_url or "").startswith("http://")
        if key is None and preset.key_required and not is_own:
            run.missing_keys[name] = " or ".join(preset.key_names)
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or key.strip() != key:
        location = ("providers", name, "apiKey")
        run.problem(location, "holds characters that a header can't", "check for stray line ends")
        return None
    run.keys[name] = key
    return key


def _url(run: _Compilation, written: str, location: tuple[str | int, ...]) -> Passthrough | None:
    """Where a base URL points. Its text never enters a message: it may hold a password."""
    remedy = "write a URL such as https://api.example.com/v1"
    try:
        url = urlsplit(written)
        port = url.port
    except ValueError:
        run.problem(location, "not a URL", remedy)
        return None
    host = url.hostname or ""
    if url.scheme not in {"http", "https"} or not (_HOST.fullmatch(host) or _is_ip(host)):
        run.problem(location, "not an http:// or https:// URL with a host", remedy)
        return None
    if url.username or url.password or url.query or url.fragment:
        run.problem(location, "holds more than scheme, host, port and path", remedy)
        return None
    if not url.path.isascii() or not url.path.isprintable() or " " in url.path:
        run.problem(location, "its path holds characters that must be escaped", remedy)
        return None
    tls = url.scheme == "https"
    return Passthrough(host, port or (443 if tls else 80), tls, url.path.rstrip("/"))


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
    name = run.file.aliases.get(written, written)
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
        run.problem(location, "not a model name", "use letters, digits and . _ : @ / -, not `auto`")
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
        if alias in run.file.models or alias == "auto":
            run.problem(("aliases", alias), "is a model's own name", "choose another alias")
        else:
            _targets(run, name, ("aliases", alias))


def _requestable(run: _Compilation) -> dict[str, tuple[Target, ...]]:
    """Every name a client may ask for: models, the file's aliases, the catalog's aliases."""
    names: dict[str, tuple[Target, ...]] = {}
    for own, first in run.resolving.items():
        entry = catalog().get(own) if first not in run.file.models else None
        for name in (first, own, *(entry.aliases if entry else ())):
            names.setdefault(name, run.models.get(first, ()))
    for alias, name in run.file.aliases.items():
        names[alias] = names.get(name, ())
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

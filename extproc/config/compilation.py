"""`ConfigFile` → Snapshot: every name resolved, every reference checked, nothing left to find out.

Problems are collected, so that one run of `extproc check` shows them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from extproc.config.catalog import aliases
from extproc.config.classifier import default_classifier
from extproc.config.file import ConfigFile
from extproc.config.guards import guard_windows, orders_of
from extproc.config.models import meant, requestable, targets_of, targets_of_all
from extproc.config.problems import ConfigError
from extproc.config.providers import is_header_name, origin_of, provider_of
from extproc.config.reports import decision_log_of, telemetry_of
from extproc.config.routes import check_reachable, route_of
from extproc.config.run import MODEL_NAME, MODEL_NAME_REMEDY, NAME, Compilation, Fact
from extproc.policy.overrides import PREFIX
from extproc.snapshot import Apps, HealthCheck, Passthrough, Route, Snapshot, guard_name
from extproc.vocabulary import APP_HEADER, ModelName, ProviderName, Secrets, Surface


@dataclass(frozen=True, slots=True)
class Compiled:
    """A config that can run.

    The secrets are beside the Snapshot, not in it: the Snapshot may be shown, they may not. So are
    the headers that OpenTelemetry exports are sent with. `missing_keys` names, per provider that
    needs a key and has none, where it was looked for.
    """

    snapshot: Snapshot
    secrets: Mapping[ProviderName, Secrets] = field(repr=False)
    missing_keys: Mapping[ProviderName, str]
    facts: tuple[Fact, ...]
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def compile_config(
    file: ConfigFile, env: Mapping[str, str], base_urls: Mapping[str, str] | None = None
) -> Compiled:
    """The running form of `file`. `env` supplies the presets' keys.

    `base_urls` replaces where the named providers are; `extproc up` points them to stand-ins.

    Raises:
        ConfigError: with every name that does not resolve.

    """
    run = Compilation(file, env, base_urls or {})
    for name in file.providers:
        provider_of(run, name, ("providers", name))
    for name in file.models:
        targets_of(run, name, ("models", name))
    routes = tuple(route_of(run, index) for index in range(len(file.routes)))
    _check_order(run)
    _check_names(run, routes)
    offered = tuple(run.models)
    names = requestable(run)
    apps = _apps(run)
    check_reachable(run, routes, apps)
    passthrough = _passthrough(run)
    telemetry, otlp_headers = telemetry_of(run)
    if run.problems:
        raise ConfigError(run.problems)
    targets = {target.id: target for model in run.models.values() for target in model}
    depth, windows = guard_windows(orders_of(routes, run.models.values()), file.max_attempts)
    guards = {window: guard_name(window) for window in windows}
    snapshot = Snapshot(
        config=_digest(file),
        providers=MappingProxyType({t.provider.name: t.provider for t in targets.values()}),
        targets=MappingProxyType(targets),
        models=MappingProxyType(names),
        offered=offered,
        routes=routes,
        guards=MappingProxyType(guards),
        guard_depth=depth,
        translated=frozenset(
            surface
            for surface in Surface
            if any(surface not in target.provider.endpoints for target in targets.values())
        ),
        max_attempts=file.max_attempts,
        first_byte_timeout_s=file.first_byte_timeout,
        body_bytes_max=file.body_bytes_max,
        honour_requested_model=file.requested_model == "honour",
        allow_unknown_capability=file.unknown_capability == "allow",
        strip_bound_history=file.bound_history == "strip",
        allowed_overrides=frozenset(file.overrides.allow),
        decision_timeout_s=file.server.decision_timeout,
        drain_delay_s=file.server.drain_delay or 0.0,
        drain_timeout_s=file.server.drain_timeout,
        transport=file.server.transport,
        health_check=HealthCheck(
            enabled=file.health_check.enabled,
            interval_s=file.health_check.interval,
            error_rate_threshold=file.health_check.error_rate_threshold,
        ),
        passthrough=passthrough,
        apps=apps,
        classifier=default_classifier(),
        decision_log=decision_log_of(file.decision_log),
        telemetry=telemetry,
    )
    used = snapshot.providers
    return Compiled(
        snapshot,
        secrets=MappingProxyType(
            {name: Secrets(run.keys.get(name), run.headers.get(name, {})) for name in used}
        ),
        missing_keys=MappingProxyType(
            {name: key for name, key in run.missing_keys.items() if name in used}
        ),
        facts=tuple(run.facts),
        otlp_headers=otlp_headers,
    )


def _digest(file: ConfigFile) -> str:
    """Of what the file says, so that comments and order of keys make no difference."""
    content = file.model_dump(mode="json", exclude_unset=True)  # a SecretStr is dumped as stars
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _apps(run: Compilation) -> Apps:
    section = run.file.apps
    from_api_key = section.source in {"apiKey", "api_key"}
    header = APP_HEADER if from_api_key else section.source.lower()
    if not is_header_name(header):
        run.problem(("apps", "from"), "not a header name", "name a header, or apiKey")
    elif header.startswith(PREFIX) and header != APP_HEADER:
        remedy = f"name another header, {APP_HEADER} or apiKey"
        run.problem(("apps", "from"), "is dropped, so no request has it", remedy)
    allowed: dict[str, frozenset[ModelName]] = {}
    for app, names in section.allow.items():
        targets = targets_of_all(run, names, ("apps", "allow", app))
        allowed[app] = frozenset(target.model.name for target in targets)
    return Apps(
        header=header,
        from_api_key=from_api_key,
        allowed=MappingProxyType(allowed),
    )


def _check_order(run: Compilation) -> None:
    """One catch-all, and it stands last: else a request finds no route, or a route no request."""
    catch_alls = [i for i, route in enumerate(run.file.routes) if route.match.default]
    if not catch_alls:
        run.problem(("routes",), "no catch-all", "end with a route that matches `default: true`")
        return
    for index in range(catch_alls[0] + 1, len(run.file.routes)):
        run.problem(("routes", index), "stands after the catch-all", "move it before, or drop it")


def _check_names(run: Compilation, routes: tuple[Route, ...]) -> None:
    seen: set[str] = set()
    for index, route in enumerate(routes):
        at = ("routes", index, "name")
        if route.name in seen:
            run.problem(at, f"{route.name} names two routes", "give each its own name")
        if not NAME.fullmatch(route.name):
            run.problem(at, "not a route name", "use letters, digits, `.`, `_` and `-`")
        seen.add(route.name)
    for alias, name in run.file.aliases.items():
        where = ("aliases", alias)
        if alias in run.file.models or alias == "auto":
            run.problem(where, "is a model's own name", "choose another alias")
        elif not MODEL_NAME.fullmatch(alias):
            run.problem(where, "not a model name", MODEL_NAME_REMEDY)
        elif meant(run.file, name) is None:
            run.problem(where, "leads back to itself", "name a model")
        else:
            if aliases().get(alias, alias) in run.resolving:
                what = f"{name} to clients, and the model itself in the rest of this file"
                run.facts.append(Fact(alias, what, "an alias"))
            targets_of(run, name, where)


def _passthrough(run: Compilation) -> Passthrough | None:
    written = run.file.server.passthrough
    return origin_of(run, written, ("server", "passthrough")) if written else None

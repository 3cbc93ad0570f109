"""Routes of the file → routes over targets, checked for what would surprise at run time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any, Final

from extproc.config.file import MatchSection, RouteSection, TokensSection
from extproc.config.models import targets_of, targets_of_all
from extproc.config.problems import Location
from extproc.config.providers import is_header_name
from extproc.config.run import Compilation, Fact
from extproc.dialects import PATHS, surface_of
from extproc.feature import Feature
from extproc.policy.eligibility import is_native, quality_of, with_headroom
from extproc.policy.match import any_of
from extproc.policy.overrides import PREFIX
from extproc.snapshot import Apps, Match, Objective, Requirements, Route, TokenRange
from extproc.vocabulary import APP_HEADER, Surface, Target

_ANYONE: Final = Apps()

_ENDS: Final = {surface: path[path.index("/v1/") :] for surface, path in PATHS.items()}

_PSEUDO_HEADERS: Final = {":authority", ":method", ":path", ":scheme"}

PARTS_MAX: Final = 1000
"""What a route is taken apart into at most, to see whether earlier ones take all of it."""

_FEWEST_SHARE: Final = 0.75
"""Of the tokens that a route goes by; a model of another family may count that much fewer."""


def route_of(run: Compilation, index: int) -> Route:
    section = run.file.routes[index]
    location = ("routes", index)
    is_default = section.match.default is True
    name = section.name or ("default" if is_default else f"route-{index + 1}")
    if section.model is not None:
        candidates = targets_of(run, section.model, (*location, "model"))
    else:
        candidates = targets_of_all(run, section.candidates or (), (*location, "candidates"))
    fallback = targets_of_all(run, section.fallback, (*location, "fallback"))
    names = [header.lower() for header in section.match.headers or {}]
    if len(set(names)) < len(names):
        twice = (*location, "match", "headers")
        run.problem(twice, "names one header twice", "case makes no difference; keep one")
    route = Route(
        name=name,
        match=_match(section.match),
        candidates=candidates,
        fallback=fallback,
        objective=Objective(section.objective),
        require=_requirements(section),
    )
    _check_objective(run, route, section, location)
    return route


def _requirements(section: RouteSection) -> Requirements:
    require = section.require
    return Requirements(
        quality_min=require.quality.min if require.quality else None,
        latency_ms_max=require.latency_ms.max if require.latency_ms else None,
        cost_usd_max=require.cost_usd.max if require.cost_usd else None,
        region=require.region,
    )


def _check_objective(
    run: Compilation, route: Route, section: RouteSection, location: Location
) -> None:
    if route.objective is Objective.COST and section.unpriced == "deny":
        for target in route.candidates:
            if not target.prices:
                remedy = f"write models.{target.model.name}.price, or `unpriced: allow` here"
                run.problem(location, f"{target.id} has no price to rank it by", remedy)
    weights = [target.weight for target in route.candidates]
    if route.objective is Objective.WEIGHTED and weights and not any(weights):
        run.problem(location, "its candidates' weights sum to nothing", "give one a weight above 0")


def _match(section: MatchSection) -> Match:
    return Match(
        default=section.default is True,
        apps=section.app or (),
        task_types=section.task_type or (),
        requested_models=section.model or (),
        input_tokens=_range(section.input_tokens),
        output_tokens=_range(section.output_tokens),
        streaming=section.streaming,
        has=frozenset(section.has or ()),
        metadata=MappingProxyType(section.metadata or {}),
        headers=MappingProxyType({k.lower(): v for k, v in (section.headers or {}).items()}),
        paths=section.path or (),
    )


def _range(section: TokensSection | None) -> TokenRange | None:
    return TokenRange(section.min, section.max) if section else None


def check_reachable(run: Compilation, routes: tuple[Route, ...], apps: Apps = _ANYONE) -> None:
    """A route that earlier ones take every request from, and targets that serve none of its own."""
    regions = {section.region for section in run.file.providers.values()}
    for index, route in enumerate(routes):
        location = ("routes", index)
        earlier = [r.match for r in routes[:index] if not r.match.default]
        # The catch-all must be there even where nothing is left for it.
        if not route.match.default and all(_is_taken(m, earlier) for m in _parts(route.match)):
            remedy = "move it before them, or drop it"
            run.problem(location, "earlier routes match all that it does", remedy)
        _check_match(run, route.match, (*location, "match"))
        region = route.require.region
        if region and region not in regions and run.file.unknown_capability == "deny":
            at = (*location, "require", "region")
            run.problem(at, f"no provider's region is {region}", "write it at a provider")
            continue
        _check_servable(run, index, route, apps)


def _surfaces(paths: tuple[str, ...]) -> set[Surface]:
    """The APIs that a request whose path fits one of `paths` may speak; too many rather than few.

    What a pattern says before its last `*` may stand in the prefix that any path may have.
    """
    found = {surface_of(path) for path in paths if "*" not in path} - {None}
    for pattern in paths:
        if "*" in pattern and pattern.startswith(("/", "*")):
            tail = pattern.rpartition("*")[2]
            found |= {s for s, end in _ENDS.items() if end.endswith(tail) or tail.endswith(end)}
    return {surface for surface in found if surface}


def _check_match(run: Compilation, match: Match, location: Location) -> None:
    """Conditions that no request meets, whatever stands before."""
    if match.paths and not _surfaces(match.paths):
        known = ", ".join(_ENDS.values())
        run.problem((*location, "path"), "no request to a model has it", f"known here: {known}")
    if match.input_tokens and match.input_tokens.max == 0:
        at = (*location, "inputTokens", "max")
        run.problem(at, "every request has at least one token", "write 1 or more")
    _check_headers(run, match, (*location, "headers"))


def _check_headers(run: Compilation, match: Match, location: Location) -> None:
    allowed = {APP_HEADER, *(PREFIX + name for name in run.file.overrides.allow)}
    for header in match.headers:
        if header == "host":
            run.problem((*location, header), "comes as `:authority`", "write that")
        elif header not in _PSEUDO_HEADERS and not is_header_name(header):
            run.problem((*location, header), "not a header name", "use letters, digits and `-`")
        if header.startswith(PREFIX) and header not in allowed:
            remedy = "allow it in overrides.allow, or name another header"
            run.problem((*location, header), "is dropped, so no request has it", remedy)


def _check_servable(run: Compilation, index: int, route: Route, apps: Apps) -> None:
    """What a target can't do for certain is a mistake; so is a fallback that `require` rules out.

    A candidate may be ruled out while another is left: that is what floors are for.
    """
    key = "model" if run.file.routes[index].model else "candidates"

    def ruled_out_by(target: Target) -> str | None:
        return _ruled_out(run, route, target) or _disallowed(route, target, apps)

    ruled_out = {target.id: ruled_out_by(target) for target in route.candidates}
    none_left = all(ruled_out.values())
    after = tuple(target for target in route.fallback if target.id not in ruled_out)
    for at, targets in ((key, route.candidates), ("fallback", after)):
        for target in targets:
            why = _unable(run, route, target)
            if why is None and (none_left or at == "fallback"):
                why = ruled_out_by(target)
            if why:
                what = f"{target.id} can never serve what this route matches: {why}"
                run.problem(("routes", index, at), what, "name another, or match less")
    for target in (*route.candidates, *after):
        why = ruled_out_by(target) or _unplaced(run, route, target)
        if why:
            run.facts.append(Fact(route.name, f"{target.id} is never chosen", why))


def _parts(match: Match) -> Iterator[Match]:
    """Matches that together are `match`, each of one way of answering and one of any several.

    Of a match with too many combinations only the task types are taken apart.
    """
    ways = (True, False) if match.streaming is None else (match.streaming,)
    every: dict[str, list[Any]] = {
        "task_types": [(task,) for task in match.task_types],
        "apps": [(app,) for app in match.apps],
        "requested_models": [(model,) for model in match.requested_models],
        "paths": [(path,) for path in match.paths],
        "has": [frozenset({feature}) for feature in sorted(match.has)],
    }
    given = {name: values for name, values in every.items() if values}
    if math.prod([len(values) for values in given.values()]) > PARTS_MAX:
        given = {name: values for name, values in given.items() if name == "task_types"}
    for streaming, *one_each in product(ways, *given.values()):
        yield replace(match, streaming=streaming, **dict(zip(given, one_each, strict=True)))


def _is_taken(match: Match, earlier: list[Match]) -> bool:
    """Whether every request that `match` fits, one of `earlier` fits too.

    Ranges of tokens may do so together; any other condition must be covered by one route.
    """
    alike = [
        one
        for one in earlier
        if _covers(replace(one, input_tokens=None, output_tokens=None), match)
    ]
    return all(
        _are_inputs_taken(
            match.input_tokens,
            [one.input_tokens for one in alike if _range_covers(one.output_tokens, outputs)],
        )
        for outputs in _cut(match.output_tokens or TokenRange(), alike)
    )


def _cut(outputs: TokenRange, at: list[Match]) -> Iterator[TokenRange]:
    """`outputs` in pieces, none of which is only in part in the range of one of `at`."""
    ranges = [one.output_tokens for one in at if one.output_tokens]
    edges = {r.min for r in ranges if r.min is not None} | {
        r.max + 1 for r in ranges if r.max is not None
    }
    begin = outputs.min or 0
    for edge in sorted(edges):
        if begin < edge and (outputs.max is None or edge <= outputs.max):
            yield TokenRange(begin, edge - 1)
            begin = edge
    yield TokenRange(begin, outputs.max)


def _are_inputs_taken(inputs: TokenRange | None, taken: list[TokenRange | None]) -> bool:
    """Whether the ranges `taken` make up `inputs`; an absent range is all of them."""
    wanted = inputs or TokenRange()
    position, end = wanted.min or 0, wanted.max
    for one in sorted((one or TokenRange() for one in taken), key=lambda r: r.min or 0):
        if (one.min or 0) > position:
            return False
        if one.max is None or (end is not None and one.max >= end):
            return True
        position = max(position, one.max + 1)
    return False


def _covers(wide: Match, narrow: Match) -> bool:
    """Whether each condition of `wide` follows from those of `narrow`."""
    return (
        _any_covers(wide.apps, narrow.apps)
        and (not wide.task_types or _names_only(narrow.task_types, wide.task_types))
        and _any_covers(wide.requested_models, narrow.requested_models)
        and _any_covers(wide.paths, narrow.paths)
        and (wide.streaming is None or wide.streaming == narrow.streaming)
        and (not wide.has or (bool(narrow.has) and narrow.has <= wide.has))
        and _range_covers(wide.output_tokens, narrow.output_tokens or TokenRange())
        and all(_any_covers(v, narrow.headers.get(k, ())) for k, v in wide.headers.items())
        and all(_any_covers(v, narrow.metadata.get(k, ())) for k, v in wide.metadata.items())
    )


def _names_only(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return bool(narrow) and set(narrow) <= set(wide)


def _range_covers(wide: TokenRange | None, narrow: TokenRange) -> bool:
    return wide is None or (
        (wide.min or 0) <= (narrow.min or 0)
        and (wide.max is None or (narrow.max is not None and narrow.max <= wide.max))
    )


def _any_covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """A pattern covers another if it fits the other's text: a `*` of it takes up the other's."""
    return not wide or (bool(narrow) and all(any_of(wide, pattern) for pattern in narrow))


def _unable(run: Compilation, route: Route, target: Target) -> str | None:
    """Why `target` can't do what the route matches."""
    unknown = run.file.unknown_capability == "allow"
    model, match = target.model, route.match
    if match.has and not any(model.capabilities.get(f, unknown) for f in match.has):
        return f"it has no {' or '.join(sorted(match.has))}"
    surfaces = _surfaces(match.paths) if match.paths else set(Surface)
    if surfaces == {Surface.EMBEDDINGS}:
        if not model.capabilities.get(Feature.EMBEDDINGS, unknown):
            return "it does not embed"
        if not is_native(target, Surface.EMBEDDINGS):
            return f"its API `{target.provider.api}` has no embeddings"
    elif Surface.EMBEDDINGS not in surfaces and model.capabilities.get(Feature.EMBEDDINGS):
        return "it only embeds"
    if model.context_window and _tokens_min(match) > model.context_window:
        return f"its window is {model.context_window} tokens"
    return None


def _tokens_min(match: Match) -> int:
    """The window that a request which `match` fits takes up at least."""
    least_in = (match.input_tokens.min if match.input_tokens else None) or 0
    least_out = (match.output_tokens.min if match.output_tokens else None) or 0
    return max(least_in, with_headroom(math.floor(least_in * _FEWEST_SHARE) + least_out))


def _ruled_out(run: Compilation, route: Route, target: Target) -> str | None:
    """Why `require` leaves `target` out whatever the request, going by what is known of it."""
    unknown = run.file.unknown_capability == "allow"
    region = target.provider.region
    if route.require.region and region and region != route.require.region:
        return f"its region is {region}"
    if route.require.cost_usd_max is not None and not target.prices and not unknown:
        return "its price is unknown"
    floor = route.require.quality_min
    if floor is None:
        return None
    quality = target.model.quality
    found = [quality_of(quality, task) for task in route.match.task_types or quality or ("",)]
    if any((q is None and unknown) or (q is not None and q >= floor) for q in found):
        return None
    return f"its quality is below {floor:g}" if any(found) else "its quality is unknown"


def _disallowed(route: Route, target: Target, apps: Apps) -> str | None:
    """Why no app of the route may use `target`; a pattern may match an app without a list."""
    lists = [apps.allowed.get(app) for app in route.match.apps]
    if not lists or any(allowed is None or target.model.name in allowed for allowed in lists):
        return None
    return f"{' or '.join(route.match.apps)} may not use it"


def _unplaced(run: Compilation, route: Route, target: Target) -> str | None:
    where_matters = route.require.region and run.file.unknown_capability == "deny"
    return "its region is unknown" if where_matters and not target.provider.region else None

"""Models as the file names them → targets: the file's facts, the catalog's, the price list's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from genai_prices.types import ModelInfo

from extproc.config.catalog import CatalogEntry, aliases, catalog
from extproc.config.file import ConfigFile, ModelSection, PriceSection, TargetSection
from extproc.config.prices import SOURCE, listed, maker_of, price_list
from extproc.config.problems import Location, nearest
from extproc.config.providers import provider_of
from extproc.config.run import MODEL_NAME, MODEL_NAME_REMEDY, Compilation, Fact
from extproc.feature import Feature
from extproc.price import Price, PriceList, PricePeriod, Rate
from extproc.text.tokens import Family
from extproc.vocabulary import Limits, Model, ModelName, Target, TargetId, UpstreamModel

_FILE: Final = "this file"


def targets_of(run: Compilation, written: str, location: Location) -> tuple[Target, ...]:
    """The targets of the model that the file calls `written`, in order of preference.

    Two names of one catalog model are one model, under the name that came first.
    """
    name = meant(run.file, written) or written
    own = aliases().get(name, name) if name not in run.file.models else name
    first = run.resolving.setdefault(own, ModelName(name))
    if first in run.models:
        return run.models[first]
    section = run.file.models.get(name, ModelSection())
    entry = _catalog_entry(name)
    if name not in run.file.models and entry is None:
        known = [*run.file.models, *run.file.aliases, *catalog()]
        run.problem(location, f"no model is called {name}", nearest(name, known, aliases()))
        return ()
    if not MODEL_NAME.fullmatch(name) or name == "auto":
        run.problem(location, "not a model name", MODEL_NAME_REMEDY)
        return ()
    places = section.targets or (entry.targets if entry else None)
    if not places:
        run.problem(location, "not in the catalog and without targets", "say where it runs")
        return ()
    model = _model(run, first, section, entry, places)
    limits = Limits(section.limits.requests_per_minute, section.limits.tokens_per_minute)
    found: dict[TargetId, Target] = {}
    for index, place in enumerate(places):
        at = (*location, "targets", index) if section.targets else location
        provider = provider_of(run, place.provider, (*at, "provider"))
        target_id = TargetId(f"{place.provider}/{first}")
        if target_id in found:
            run.problem(at, f"{place.provider} is given twice", "keep one")
        if provider is not None:
            upstream = UpstreamModel(place.upstream_model or name)
            prices, source = _prices(run, section.price, place.provider, upstream)
            run.facts.append(Fact(target_id, f"price {_shown(prices)}", source))
            found[target_id] = Target(
                target_id, provider, model, upstream, place.weight, prices, limits
            )
    found_all = len(found) == len(places)  # else its window may be known where it really runs
    if found_all and model.context_window is None and run.file.unknown_capability == "deny":
        remedy = "write contextWindow, or `unknownCapability: allow`"
        run.problem(location, f"{name} has no known context window, so nothing fits it", remedy)
    run.models[first] = tuple(found.values())
    return run.models[first]


def _catalog_entry(name: str) -> CatalogEntry | None:
    """The catalog's facts of `name`; for a model that only the price list knows, where it runs."""
    entry = catalog().get(aliases().get(name, name))
    if entry is not None:
        return entry
    maker = maker_of(name)
    if maker is None:
        return None
    place = TargetSection.model_validate({"provider": maker, "upstreamModel": name})
    return CatalogEntry.model_validate({"targets": (place,), "source": SOURCE, "date": None})


def _model(
    run: Compilation,
    name: ModelName,
    section: ModelSection,
    entry: CatalogEntry | None,
    places: tuple[TargetSection, ...],
) -> Model:
    """What is known of a model: the file first, then the catalog, then the price list."""
    noted = f"catalog: {entry.source}, {entry.date}" if entry else "nowhere"
    window, source = section.context_window, _FILE
    if window is None and entry and entry.context_window:
        window, source = entry.context_window, noted
    if window is None:
        window, source = _listed_window(run, name, places), SOURCE
    if window is None and entry and entry.targets:
        # A window goes with the model: that of the catalog's places holds where it was moved to.
        window = _listed_window(run, name, entry.targets)
    run.facts.append(Fact(name, f"contextWindow {window or 'unknown'}", source))
    output_max, source = section.max_output_tokens, _FILE
    if output_max is None and entry and entry.max_output_tokens:
        output_max, source = entry.max_output_tokens, noted
    if output_max is not None:
        run.facts.append(Fact(name, f"maxOutputTokens {output_max}", source))
    for what, own, known in (
        ("capabilities", section.capabilities, entry.capabilities if entry else {}),
        ("quality", section.quality, entry.quality if entry else {}),
    ):
        rest = {key: value for key, value in known.items() if key not in own}
        if rest:
            where = entry.quality_source if entry and what == "quality" else None
            run.facts.append(Fact(name, f"{what} {_listing(rest)}", where or noted))
        if own:
            run.facts.append(Fact(name, f"{what} {_listing(own)}", _FILE))
    return Model(
        name=name,
        context_window=window,
        capabilities=MappingProxyType(
            {**(entry.capabilities if entry else {}), **section.capabilities}
        ),
        family=section.family or (entry.family if entry else None) or Family.DEFAULT,
        quality=MappingProxyType({**(entry.quality if entry else {}), **section.quality}),
        output_tokens_max=output_max,
    )


def _listed_window(
    run: Compilation, name: ModelName, places: tuple[TargetSection, ...]
) -> int | None:
    """The smallest of the places that say: a request must fit wherever it goes."""
    # Where the preset lists none, one of that name will do.
    named = [(place.provider, place.upstream_model or name) for place in places]
    windows = [_listed(run, *place) or listed(*place) for place in named]
    return min((w.context_window for w in windows if w and w.context_window), default=None)


def _prices(
    run: Compilation, written: PriceSection | None, provider: str, upstream: UpstreamModel
) -> tuple[PriceList, str]:
    """The prices of a target and where they are from."""
    if written is not None:
        return (PricePeriod(_written_price(written)),), _FILE
    known = _listed(run, provider, upstream)
    return (price_list(known), f"{SOURCE}: {known.id}") if known else ((), "nowhere")


def _listed(run: Compilation, provider: str, upstream: str) -> ModelInfo | None:
    """What the price list says of a model at `provider`: of its preset, whatever its own name."""
    section = run.file.providers.get(provider)
    return listed((section.preset if section else None) or provider, upstream)


def _shown(prices: PriceList) -> str:
    if not prices:
        return "unknown"
    price = prices[-1].price
    tiers = ", tiered" if price.input.tiers or price.output.tiers else ""
    return f"${price.input.base:g} in, ${price.output.base:g} out per million tokens{tiers}"


def _listing(facts: Mapping[Feature, bool] | Mapping[str, float]) -> str:
    words = {True: "yes", False: "no"}
    told = (words[v] if isinstance(v, bool) else f"{v:g}" for v in facts.values())
    return ", ".join(f"{name} {value}" for name, value in zip(facts, told, strict=True))


def _written_price(section: PriceSection) -> Price:
    def rate(usd: float | None) -> Rate | None:
        return None if usd is None else Rate(usd)

    return Price(
        input=Rate(section.input_per_m_tok),
        output=Rate(section.output_per_m_tok),
        cache_read=rate(section.cached_input_per_m_tok),
        cache_write=rate(section.cache_write_per_m_tok),
        reasoning=rate(section.reasoning_per_m_tok),
    )


def meant(file: ConfigFile, name: str) -> str | None:
    """The model that the file means by `name`; None for aliases that go round in a circle.

    A model's own name means that model, whatever clients get who ask for it.
    """
    for _ in range(len(file.aliases) + 1):
        if name not in file.aliases or name in file.models or _catalog_entry(name):
            return name
        name = file.aliases[name]
    return None


def targets_of_all(
    run: Compilation, names: Iterable[str], location: Location
) -> tuple[Target, ...]:
    found: dict[TargetId, Target] = {}
    for index, name in enumerate(names):
        for target in targets_of(run, name, (*location, index)):
            found.setdefault(target.id, target)
    return tuple(found.values())


def requestable(run: Compilation) -> dict[str, tuple[Target, ...]]:
    """Every name a client may ask for: models, the file's aliases, the catalog's aliases."""
    names: dict[str, tuple[Target, ...]] = {}
    for own, first in run.resolving.items():
        entry = catalog().get(own) if first not in run.file.models else None
        for name in (first, own, *(entry.aliases if entry else ())):
            names.setdefault(name, run.models.get(first, ()))
    aliased = {
        alias: names.get(meant(run.file, name) or name, ())
        for alias, name in run.file.aliases.items()
    }
    return names | aliased

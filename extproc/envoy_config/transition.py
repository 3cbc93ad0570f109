"""How Envoy gets from what it holds to what a new config needs, with requests under both open.

Nothing is named before it is there, and nothing is taken away that a request still open may name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from extproc.envoy_config.upstream import PROVIDER, SCRUB
from extproc.envoy_config.xds import Resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extproc.envoy_config.rendering import Json

_NO_PLACES: Final[Json] = {"matcher_tree": {"exact_match_map": {"map": {}}}}


def with_additions(held: Resources, wanted: Resources) -> Resources:
    """`wanted`, beside every cluster and provider of `held` as it is now.

    A provider that moves keeps its old place until the filters know the new one: there would be no
    key for it.
    """
    clusters = {**wanted.clusters, **held.clusters}
    return replace(joined(wanted, [held]), clusters=clusters)


def joined(wanted: Resources, older: Iterable[Resources]) -> Resources:
    """`wanted`, beside the clusters and providers that only `older` ones have."""
    for each in older:
        wanted = replace(
            wanted,
            clusters={**each.clusters, **wanted.clusters},
            filters={
                SCRUB: _scrubbing_both(wanted.filters[SCRUB], each.filters[SCRUB]),
                PROVIDER: _for_both(wanted.filters[PROVIDER], each.filters[PROVIDER]),
            },
        )
    return wanted


def _scrubbing_both(wanted: Json, older: Json) -> Json:
    """The header mutations of `wanted`, after the removals that only `older` has."""
    ours = wanted["mutations"]["request_mutations"]
    theirs = older["mutations"]["request_mutations"]
    more = [each for each in theirs if "remove" in each and each not in ours]
    mutations = wanted["mutations"] | {"request_mutations": [*more, *ours]}
    return wanted | {"mutations": mutations}


def _for_both(wanted: Json, older: Json) -> Json:
    """The choice among providers of `wanted`, and of those only `older` has."""
    ours, theirs = _tree(wanted), _tree(older)
    places = {**theirs["exact_match_map"]["map"], **ours["exact_match_map"]["map"]}
    if not places:
        return wanted
    tree = {**theirs, **ours, "exact_match_map": {"map": places}}
    return wanted | {"xds_matcher": {"matcher_tree": tree}}


def _tree(provider_filter: Json) -> Json:
    tree: Json = (provider_filter["xds_matcher"] or _NO_PLACES)["matcher_tree"]
    return tree

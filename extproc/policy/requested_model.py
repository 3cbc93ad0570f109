"""What a client that names a model gets: that model, or to hear which ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.snapshot import Route, Snapshot
from extproc.vocabulary import Refusal, RequestedModel, Target

AUTO: Final = "auto"
"""The model name that leaves the choice to the routes, as naming none does."""

_NAMES_SHOWN_MAX: Final = 50


def first_choices(
    requested: RequestedModel | None, route: Route, snapshot: Snapshot
) -> tuple[Target, ...] | Refusal:
    """The targets to try before the route's fallbacks, in order.

    A route that matches on the requested model has said what that name stands for, so the name
    need not be a configured one.
    """
    if requested is None or requested == AUTO or not snapshot.honour_requested_model:
        return route.candidates
    if requested in snapshot.models:
        return snapshot.models[requested]
    if route.match.requested_models:
        return route.candidates
    return unknown_model(requested, snapshot.models)


def unknown_model(requested: str, models: Mapping[str, object]) -> Refusal:
    names = ", ".join([AUTO, *sorted(models)][:_NAMES_SHOWN_MAX])
    message = f"The model `{requested}` does not exist here. Leave it out, or name one of: {names}."
    return Refusal("unknown_model", 404, "model_not_found", message, "model")

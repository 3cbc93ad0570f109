"""What a client that names a model gets: that model, or to hear which ones there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.snapshot import Route, Snapshot
from extproc.vocabulary import Refusal, RequestedModel, Target

AUTO: Final = "auto"
"""The model name that leaves the choice to the routes, as naming none does."""

_NAMES_SHOWN_MAX: Final = 50


def pinned_targets(
    header: RequestedModel | None, payload: RequestedModel | None, route: Route, snapshot: Snapshot
) -> tuple[Target, ...] | Refusal | None:
    """The targets of the model that the client named, in order; None if the route decides.

    A name in the header is a wish to the router and always counts. One in the payload may be there
    only because SDKs require it: `requestedModel: ignore` sets it aside, and a route that matches
    on it has said what it stands for, so that it need not be a configured one.
    """
    if header is not None:
        return None if header == AUTO else _named(header, snapshot)
    if payload is None or payload == AUTO or not snapshot.honour_requested_model:
        return None
    if payload not in snapshot.models and route.match.requested_models:
        return None
    return _named(payload, snapshot)


def _named(name: RequestedModel, snapshot: Snapshot) -> tuple[Target, ...] | Refusal:
    return snapshot.models.get(name) or unknown_model(name, snapshot.models)


def avoided(names: frozenset[str], snapshot: Snapshot) -> frozenset[str]:
    """`names` with the models that aliases among them stand for."""
    if not names:
        return names
    models = {target.model.name for name in names for target in snapshot.models.get(name, ())}
    return names | models


def unknown_model(requested: str, models: Mapping[str, object]) -> Refusal:
    names = ", ".join([AUTO, *sorted(models)][:_NAMES_SHOWN_MAX])
    message = f"The model `{requested}` does not exist here. Leave it out, or name one of: {names}."
    return Refusal("unknown_model", 404, "model_not_found", message, "model")

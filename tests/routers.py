"""Routers without a server around them: what they keep is looked at, nothing is printed."""

from __future__ import annotations

from extproc.servers.decision_log import DecisionLog
from extproc.servers.metrics import Metrics
from extproc.servers.router import Router
from extproc.snapshot import LOG_NOWHERE, DecisionLogSettings, Snapshot


def router_of(snapshot: Snapshot) -> Router:
    return Router(snapshot, Metrics(), DecisionLog(DecisionLogSettings(LOG_NOWHERE), 1))

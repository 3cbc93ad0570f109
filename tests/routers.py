"""Routers without a server around them."""

from __future__ import annotations

from pathlib import Path

from extproc.servers.decision_log import DecisionLog
from extproc.servers.metrics import Metrics
from extproc.servers.router import Router
from extproc.snapshot import LOG_NOWHERE, DecisionLogSettings, Snapshot


def router_of(snapshot: Snapshot, log: Path | None = None) -> Router:
    """`log` is where its records go; nowhere if absent."""
    settings = DecisionLogSettings(str(log) if log else LOG_NOWHERE)
    return Router(snapshot, Metrics(), DecisionLog(settings, -1))

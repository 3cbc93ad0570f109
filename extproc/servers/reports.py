"""What the admin server tells of the config and of the targets: plain JSON, no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extproc.record import iso_time
from extproc.snapshot import Snapshot
from extproc.state.view import TargetView, View


@dataclass(frozen=True, slots=True)
class Reload:
    """The last time the file was read: when (Unix seconds), and what was wrong with it, if so."""

    time: float
    error: str | None = None


def config_report(
    snapshot: Snapshot, path: str, loaded: float, reload: Reload | None, now: float
) -> Mapping[str, Any]:
    """The config that runs since `loaded` (Unix seconds), and the last reload, if there was one."""
    return {
        "config": snapshot.config,
        "path": path,
        "loaded_at": iso_time(loaded),
        "age_s": round(now - loaded, 1),
        "last_reload": reload
        and {
            "time": iso_time(reload.time),
            "ok": reload.error is None,
            "error": reload.error,
        },
        "routes": len(snapshot.routes),
        "targets": len(snapshot.targets),
    }


def state_report(snapshot: Snapshot, view: View, now: float) -> list[Mapping[str, Any]]:
    """Every target of the config, as it is seen now; what is null has not been seen."""
    return [_target_report(target, view.of(target), now) for target in snapshot.targets]


def _target_report(target: str, seen: TargetView, now: float) -> Mapping[str, Any]:
    return {
        "target": target,
        "breaker": seen.breaker.value,
        "probing": seen.probing,
        "not_before": iso_time(seen.not_before) if seen.not_before > now else None,
        "requests_left": seen.requests_left,
        "tokens_left": seen.tokens_left,
        "ttfb_ms": seen.ttfb_ms,
        "ms_per_token": seen.ms_per_token,
        "spiking": seen.spiking,
        "cached_share": seen.cached_share,
    }

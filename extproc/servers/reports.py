"""What the admin server tells of the config: plain JSON, no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extproc.record import iso_time
from extproc.servers.reload import ReloadStatus
from extproc.snapshot import Snapshot


def config_report(snapshot: Snapshot, status: ReloadStatus, now: float) -> Mapping[str, Any]:
    """The config that runs, and what became of the last attempt to change it, if there was one."""
    attempted = status.last_attempt_at
    return {
        "config": snapshot.config,
        "path": status.path,
        "loaded_at": iso_time(status.loaded_at),
        "age_s": round(now - status.loaded_at, 1),
        "last_reload": attempted
        and {
            "time": iso_time(attempted),
            "ok": status.last_error is None,
            "error": status.last_error,
        },
        "reloads": {"ok": status.succeeded, "failed": status.failed},
        "routes": len(snapshot.routes),
        "targets": len(snapshot.targets),
    }

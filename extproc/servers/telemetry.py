"""OpenTelemetry, for who configured it: nothing of it is loaded for anyone else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from extproc.outcome import Finished
from extproc.snapshot import Otlp


class TelemetryError(Exception):
    """Telemetry that is configured and can't be had; the message says what to install."""


class Exporter(Protocol):
    """Takes finished requests on the event loop and exports them from threads of its own."""

    def finished(self, finished: Finished) -> None:
        """Never waits, never raises."""

    def close(self) -> None:
        """Export what is left, for a few seconds at most."""


def start(otlp: Otlp, headers: Mapping[str, str]) -> Exporter:
    """`headers` are those of the compiled config, with their secrets.

    Raises:
        TelemetryError: where the packages are not installed.

    """
    try:
        from extproc.servers.otlp import OtlpExporter  # noqa: PLC0415  an optional dependency
    except ModuleNotFoundError as error:
        raise TelemetryError(
            f"telemetry.otlp: the package {error.name} is not installed; "
            "install `extproc[otel]`, or leave telemetry.otlp out"
        ) from None
    return OtlpExporter(otlp, headers)

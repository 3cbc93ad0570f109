"""`grpc.health.v1` for the lean transport: one status for all, and who waits for its change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

Tell = Callable[[bytes], None]

_SERVING: Final = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
_NOT_SERVING: Final = HealthCheckResponse(
    status=HealthCheckResponse.NOT_SERVING
).SerializeToString()
_UNKNOWN: Final = HealthCheckResponse(
    status=HealthCheckResponse.SERVICE_UNKNOWN
).SerializeToString()


class Health:
    """Of the server as a whole, which has no name, and of `services`."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({"", *services})
        self._status = _NOT_SERVING
        self._watchers: list[Tell] = []

    def check(self, request: bytes) -> bytes:
        """Raises protobuf's `DecodeError`, and `KeyError` for a service that is unknown."""
        if (name := HealthCheckRequest.FromString(request).service) not in self._services:
            raise KeyError(name)
        return self._status

    def watch(self, request: bytes, tell: Tell) -> None:
        """`tell` is called now and after each change. Raises protobuf's `DecodeError`."""
        if HealthCheckRequest.FromString(request).service in self._services:
            self._watchers.append(tell)
            tell(self._status)
        else:
            tell(_UNKNOWN)

    def unwatch(self, tell: Tell) -> None:
        self._watchers = [one for one in self._watchers if one != tell]

    def set(self, *, serving: bool) -> None:
        self._status = _SERVING if serving else _NOT_SERVING
        for tell in self._watchers:
            tell(self._status)

"""What Envoy's admin server says: which versions of its files it runs or refuses, what is open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp

_STATS: Final = r"(\.version_text|\.update_rejected|^cluster_manager\.warming_clusters)$"
_OPEN: Final = r"^(http\.llm\.downstream_rq_active|cluster\.extproc[^.]*\.upstream_rq_active)$"
"""Clients' requests, and what the router is being told or asked."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """`refused` counts, per kind of resource, what was refused; `warming` is clusters not ready."""

    versions: frozenset[str]
    refused: Mapping[str, int]
    warming: int

    def refused_since(self, before: Progress) -> list[str]:
        """The kinds of resource of which something was refused since then."""
        return [kind for kind, n in self.refused.items() if n > before.refused.get(kind, 0)]


def progress_of(stats: str) -> Progress:
    """`stats` as the admin server prints them."""
    found = dict(re.findall(r"^(\S+): (.*)$", stats, re.MULTILINE))
    versions = (text.strip('"') for name, text in found.items() if name.endswith(".version_text"))
    refused = {
        name.removesuffix(".update_rejected"): int(count)
        for name, count in found.items()
        if name.endswith(".update_rejected")
    }
    warming = int(found.get("cluster_manager.warming_clusters", "0"))
    return Progress(frozenset(versions), refused, warming)


def open_of(stats: str) -> int:
    """`stats` as the admin server prints them."""
    return sum(map(int, re.findall(r"_active: ([0-9]+)$", stats, re.MULTILINE)))


class EnvoyAdmin:
    """Asks the admin server at `url`; `http://127.0.0.1:9901`."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def progress(self) -> Progress | None:
        """None if nobody, or nobody like Envoy, answers there."""
        stats = await self._stats(_STATS)
        return None if stats is None else progress_of(stats)

    async def open_requests(self) -> int | None:
        """None as in `progress`."""
        stats = await self._stats(_OPEN)
        return None if stats is None else open_of(stats)

    async def let_nobody_in(self) -> None:
        """New connections are refused, those that are kept alive end with their next answer."""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with aiohttp.ClientSession(self.url, timeout=_TIMEOUT) as session:
                for path in ("/healthcheck/fail", "/drain_listeners"):
                    async with session.post(path):
                        pass

    async def _stats(self, names: str) -> str | None:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(f"{self.url}/stats", params={"filter": names}) as answer,
            ):
                return await answer.text() if answer.status == 200 else None
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return None

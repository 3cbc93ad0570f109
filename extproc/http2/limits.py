"""How much a peer may ask of one connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The first four are announced to the peer.

    A window is what may be under way to us; it says nothing of how large a message may be, since
    more is granted as it arrives. While more than `held_bytes_max` waits for the peer's windows no
    more is granted, so that who takes no answers can ask no more; over `queued_bytes_max` it is cut
    off.
    """

    streams_max: int = 20_000
    stream_window_bytes: int = 1024 * 1024
    connection_window_bytes: int = 16 * 1024 * 1024
    header_list_bytes_max: int = 16 * 1024
    header_block_bytes_max: int = 16 * 1024
    """Headers as they are sent, compressed, with all their CONTINUATIONs."""
    held_bytes_max: int = 64 * 1024 * 1024
    queued_bytes_max: int = 1024 * 1024 * 1024
    idle_frames_max: int = 10_000
    """Frames at once that bring nothing on: PINGs, SETTINGS, empty ones (see `Credit`)."""
    idle_frames_per_s: float = 200.0

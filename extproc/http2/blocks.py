"""Header blocks (RFC 7541): read by `hpack`, each known one once; written by hand.

Envoy's requests to one service have the same headers, so that after the first few every block is
the same bytes. A block that leaves the dynamic table as it was means the same for as long as none
other changes it, and is kept until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from extproc.http2.errors import ErrorCode, Http2ConnectionError
from extproc.http2.request_head import Fields, RequestHead, request_head

KNOWN_MAX: Final = 16
"""Blocks kept for each connection."""

KNOWN_BYTES_MAX: Final = 1024
"""Longer blocks are not kept."""

NO_TABLE: Final = b"\x20"
"""The first thing to be written: no dynamic table is used, whatever size the peer allows."""


class _Table(HeaderTable):
    """A dynamic table that counts its additions."""

    def __init__(self) -> None:
        super().__init__()
        self.added = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.added += 1
        super().add(name, value)

    def state(self) -> tuple[int, int, int]:
        """Another one after each change: what was evicted without an addition is missing."""
        return self.added, self.maxsize, len(self.dynamic_entries)


class BlockReader:
    """The header blocks of one connection, each of which must be read, in their order."""

    __slots__ = ("_decoder", "_known", "_table")

    def __init__(self, list_bytes_max: int) -> None:
        self._decoder = Decoder(list_bytes_max)
        self._table = self._decoder.header_table = _Table()
        self._known: dict[bytes, RequestHead] = {}

    def head(self, block: bytes) -> RequestHead:
        """Raises `Http2StreamError` for a malformed request, and what `fields` does."""
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._table.state()
        head = request_head(self.fields(block))
        if len(block) <= KNOWN_BYTES_MAX and self._table.state() == before:
            if len(self._known) >= KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._known[block] = head
        return head

    def fields(self, block: bytes) -> Fields:
        """Raises `Http2ConnectionError`: a block that can't be read leaves the table unknown."""
        before = self._table.state()
        try:
            fields = tuple(self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, type(error).__name__) from None
        if self._table.state() != before:
            self._known.clear()
        return fields


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Literals without indexing, so that the same fields are the same bytes, always."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    """Not Huffman-coded; RFC 7541, 5.1 and 5.2."""
    size = len(text)
    if size < 0x7F:
        return bytes([size]) + text
    digits = bytearray([0x7F])
    size -= 0x7F
    while size >= 0x80:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits) + text

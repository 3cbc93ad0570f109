"""AWS event streams as Bedrock sends them, for tests of what reads them."""

import json
import struct
import zlib


def header(name: str, value: str) -> bytes:
    return raw_header(name, 7, struct.pack(">H", len(value.encode())) + value.encode())


def raw_header(name: str, kind: int, value: bytes = b"") -> bytes:
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + value


def framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def event(kind: str, **fields: object) -> bytes:
    """One event of ConverseStream, padded as Bedrock pads them."""
    return typed(kind, json.dumps(fields | {"p": "abcdef"}).encode())


def typed(kind: str, payload: bytes) -> bytes:
    headers = header(":event-type", kind) + header(":content-type", "application/json")
    return framed(headers + header(":message-type", "event"), payload)


def exception(kind: str, payload: bytes) -> bytes:
    headers = header(":exception-type", kind) + header(":content-type", "application/json")
    return framed(headers + header(":message-type", "exception"), payload)

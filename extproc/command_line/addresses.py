"""Ports and addresses as they are written on a command line."""

from __future__ import annotations

import argparse

UNIX_PREFIX = "unix:"


def port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def port_or_any(text: str) -> int:
    """A port, or 0 for any that is free."""
    return 0 if text == "0" else port(text)


def host_and_port(text: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets."""
    host, _, number = text.rpartition(":")
    if not host or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither host:port nor unix:/path")
    return host.strip("[]"), port(number)


def grpc_address(text: str) -> str:
    """`host:port` or `unix:/path`, checked for form and left as it is: gRPC reads both."""
    if not text.startswith(UNIX_PREFIX):
        host_and_port(text)
    return text

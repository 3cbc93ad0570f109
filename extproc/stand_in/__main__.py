"""`python -m extproc.stand_in`: the stand-in providers as a process of their own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence

from extproc.stand_in.server import build_app, serving


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m extproc.stand_in", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=10100, help="0 takes any free port")
    parser.add_argument("--require-key", action="store_true", help="refuse a request without a key")
    chosen = parser.parse_args(arguments)
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    try:
        listener = socket.create_server((chosen.host, chosen.port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        _say(f"stand-in: cannot listen on {chosen.host}:{chosen.port}: {reason}")
        return 1
    asyncio.run(_serve(listener, require_key=chosen.require_key))
    return 0


async def _serve(listener: socket.socket, *, require_key: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(build_app(require_key=require_key), listener):
        host, port = listener.getsockname()[:2]
        _say(f"stand-in: ready on http://{host}:{port}")
        await stop.wait()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

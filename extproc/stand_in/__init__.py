"""Stand-in providers: an upstream for every provider that has no key.

One process on one port plays all of them, each under its own prefix: the base URL of `openai` is
`http://127.0.0.1:10100/openai/v1`. Below it, every provider speaks every dialect, each at the path
that it has at its own provider (`endpoints`). Answers are made up but well formed, so that an SDK,
a router and a bill cannot tell them from real ones; what the real API would refuse is refused.

A dialect reads its request into a `Question`, and writes what `compose` answers to that. Where a
prompt says "call everything", every function is called. Trouble comes on demand:

    curl -X PUT localhost:10100/openai/fault -d '{"status": 429, "retry_after_s": 5, "times": 2}'
    curl -X DELETE localhost:10100/openai/fault

Nothing of a request outlives it, and nothing of it is logged.
"""

from __future__ import annotations

from extproc.stand_in.server import Seen, build_app, serving

__all__ = ["Seen", "build_app", "serving"]

"""Stand-in providers: an OpenAI-speaking upstream for every provider that has no key.

One process on one port plays all of them, each under its own prefix: the base URL of `openai` is
`http://127.0.0.1:10100/openai/v1`. Answers are made up but well formed, so that an SDK, a router
and a bill cannot tell them from real ones. Trouble comes on demand:

    curl -X PUT localhost:10100/openai/fault -d '{"status": 429, "retry_after_s": 5, "times": 2}'
    curl -X DELETE localhost:10100/openai/fault

Nothing of a request outlives it, and nothing of it is logged.
"""

from __future__ import annotations

from extproc.stand_in.server import Seen, build_app, serving

__all__ = ["Seen", "build_app", "serving"]

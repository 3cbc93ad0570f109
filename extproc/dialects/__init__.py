"""How payloads of each API are read, rewritten and answered; one module per dialect.

Which dialect a client speaks is known by the path alone.
"""

from __future__ import annotations

import re
from typing import Final

# Any prefix is allowed, so that `base_url` may carry one (`/team-a/v1`) for `match.path` to read.
CHAT_COMPLETIONS_PATH: Final = re.compile(r"(?:/[^/?]+)*/v1/chat/completions")
MODELS_PATH: Final = re.compile(r"(?:/[^/?]+)*/v1/models(?:/[^?]+)?")

LLM_PATHS: Final = (CHAT_COMPLETIONS_PATH.pattern, MODELS_PATH.pattern)
"""The paths that are answered, without query: regular expressions for RE2 too, to match in full."""

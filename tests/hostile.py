"""Payloads that no client of good will sends, and what may be said of one."""

import json
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from extproc.dialects.payload import Payload
from extproc.vocabulary import Refusal

CANARY: Final = "canary-8d2f"
"""Stands for what a client wrote: no message may quote it."""


def anything(*, names: Sequence[str], leaves: Sequence[object]) -> st.SearchStrategy[object]:
    """Any JSON of these names, which mean something in a dialect, wherever they stand."""
    return st.recursive(
        st.sampled_from([None, True, 0, -1, 3, 0.5, 10**30, CANARY, "text", *leaves]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5)
        ),
    )


def check_read_or_refused(found: Payload | Refusal, body: bytes) -> None:
    """`found` keeps all of `body` but its model, or is a 400 that does not quote it."""
    if isinstance(found, Refusal):
        assert found.status == 400
        assert CANARY not in found.message
    else:
        written = json.loads(body)
        written.pop("model", None)
        assert json.loads(b"{" + found.rest) == written

"""Google's Gemini API, models/{model}:generateContent: the provider's side of it."""

from __future__ import annotations

from extproc.dialects.gemini.answers import StreamReader, read_answer
from extproc.dialects.gemini.errors import read_error
from extproc.dialects.gemini.request import LACKS, write_request

__all__ = ["LACKS", "StreamReader", "read_answer", "read_error", "write_request"]

"""OpenAI's own APIs: chat completions, responses and embeddings."""

from __future__ import annotations

from extproc.stand_in.dialect import Dialect
from extproc.stand_in.openai import chat, embeddings, responses
from extproc.stand_in.openai.manners import OPENAI

CHAT = Dialect(OPENAI, chat.read)
RESPONSES = Dialect(OPENAI, responses.read)
EMBEDDINGS = Dialect(OPENAI, embeddings.read)

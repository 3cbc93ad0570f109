"""Messages as Anthropic wants them: user and assistant by turns, results of calls first.

Docs: platform.claude.com/docs/en/api/messages and …/agents-and-tools/tool-use/handle-tool-calls
(a result stands in the turn right after its call, before any text).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Final

from extproc.dialects.arguments import as_object
from extproc.dialects.conversation import (
    Audio,
    CacheMark,
    Document,
    Image,
    Inline,
    Linked,
    Message,
    Part,
    Role,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from extproc.dialects.media import image_type, is_text, media_type_of, not_taken
from extproc.vocabulary import Api

Block = dict[str, object]
Turn = tuple[str, list[Block]]

CACHE_MARKS_MAX: Final = 4
"""Anthropic takes no more breakpoints in one request."""

FILLER: Final = "Continue."
"""What the user says where Anthropic wants a user's turn and the conversation has none."""

# platform.claude.com/docs/en/build-with-claude/vision and …/pdf-support
_IMAGES: Final = {"image/jpeg", "image/png", "image/gif", "image/webp"}
_PDF: Final = "application/pdf"

_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DATA_URL: Final = re.compile(r"data:([^;,]+)(?:;[^;,]*)*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_THOUGHTS: Final = {"thinking", "redacted_thinking"}


class _CallIds:
    """Ids of calls in Anthropic's alphabet, the same ones for a call and its result."""

    __slots__ = ("_given", "_taken")

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, call_id: str) -> str:
        if call_id not in self._given:
            clean = _NOT_IN_ID.sub("_", call_id) or "call"
            while clean in self._taken:
                clean += "_"
            self._taken.add(clean)
            self._given[call_id] = clean
        return self._given[call_id]


def turns_of(messages: Iterable[Message], *, prefill: bool) -> list[Turn]:
    """The turns; with `prefill` the last one may be the assistant's, to be continued."""
    ids = _CallIds()
    turns: list[Turn] = []
    for message in messages:
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        blocks = [block for part in message.parts for block in _blocks(part, ids)]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    for role, blocks in turns:
        if role == "user":
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [_filler()]))
    if turns[-1][0] == "assistant":
        _end(turns, prefill=prefill)
    return turns


def system_blocks(system: Iterable[Text], instruction: str | None) -> list[Block]:
    texts = [*system, Text(instruction)] if instruction else system
    return [block for text in texts for block in _content(text)]


def drop_first_marks(blocks: Iterable[Block]) -> None:
    """Leaves the last `CACHE_MARKS_MAX` marks: each stands for all that is before it."""
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-CACHE_MARKS_MAX]:
        del block["cache_control"]


def called_names(turns: Iterable[Turn]) -> list[object]:
    names = [block["name"] for _, blocks in turns for block in blocks if "name" in block]
    return list(dict.fromkeys(names))


def bars_thinking(turns: Sequence[Turn]) -> bool:
    """Whether the turn to go on from did not think, as one must have for a budget to be taken.

    Docs: …/build-with-claude/extended-thinking (preserving thinking blocks): a final assistant
    turn, or the last one with calls, has to begin with its thinking.
    """
    own = [blocks for role, blocks in turns if role == "assistant"]
    if not own or own[-1][0]["type"] in _THOUGHTS:
        return False
    return turns[-1][0] == "assistant" or any(block["type"] == "tool_use" for block in own[-1])


def marked(block: Block, cache: CacheMark | None) -> Block:
    if cache:
        ttl = {"ttl": cache.ttl} if cache.ttl in {"5m", "1h"} else {}
        block["cache_control"] = {"type": "ephemeral", **ttl}
    return block


def _end(turns: list[Turn], *, prefill: bool) -> None:
    """Makes a final assistant turn one that Anthropic takes: it refuses space at its end."""
    if not prefill:
        turns.append(("user", [_filler()]))
        return
    last = turns[-1][1][-1]
    if last["type"] == "text":
        last["text"] = str(last["text"]).rstrip()


def _filler() -> Block:
    return {"type": "text", "text": FILLER}


def _blocks(part: Part, ids: _CallIds) -> Iterable[Block]:
    match part:
        case Thinking(redacted=str() as data):
            yield {"type": "redacted_thinking", "data": data}
        case Thinking(text=text, signature=str() as signature) if signature:
            yield {"type": "thinking", "thinking": text, "signature": signature}
        case Thinking() | Audio():
            pass  # what nobody signed is refused; audio is a `Demand`, so none gets here
        case ToolCall():
            yield _call(part, ids)
        case ToolResult():
            yield _result(part, ids)
        case _:
            yield from _content(part)


def _call(part: ToolCall, ids: _CallIds) -> Block:
    given = as_object(part.arguments, parsed=True)
    call: Block = {"type": "tool_use", "id": ids.of(part.id), "name": part.name, "input": given}
    return marked(call, part.cache)


def _result(part: ToolResult, ids: _CallIds) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": ids.of(part.call_id)}
    content = [block for inner in part.parts for block in _content(inner)]
    if content:
        block["content"] = content
    if part.failed:
        block["is_error"] = True
    return marked(block, part.cache)


def _content(part: Text | Image | Document) -> Iterable[Block]:
    if isinstance(part, Text):
        # A text without a visible character is refused.
        block: Block = {"type": "text", "text": part.text}
        return [marked(block, part.cache)] if part.text.strip() else []
    if isinstance(part, Image):
        return [marked({"type": "image", "source": _image_source(part.source)}, part.cache)]
    block = {"type": "document", "source": _document_source(part.source)}
    if part.name:
        block["title"] = part.name
    return [marked(block, part.cache)]


def _given(source: Source) -> Source:
    """The same, but that what a data URL holds is no link."""
    if isinstance(source, Linked):
        data_url = _DATA_URL.fullmatch(source.url)
        return Inline(data_url[1], data_url[2]) if data_url else source
    return source


def _image_source(source: Source) -> Block:
    given = _given(source)
    if isinstance(given, Linked):
        return {"type": "url", "url": given.url}
    return _base64(image_type(given, _IMAGES, Api.ANTHROPIC), given)


def _document_source(source: Source) -> Block:
    """Text as text: only PDFs may be base64."""
    given = _given(source)
    if isinstance(given, Linked):
        return {"type": "url", "url": given.url}
    if media_type_of(given) == _PDF:
        return _base64(_PDF, given)
    text = _text(given) if is_text(given) else None
    if text is None:
        raise not_taken("a document", media_type_of(given), Api.ANTHROPIC)
    return {"type": "text", "media_type": "text/plain", "data": text}


def _base64(media_type: str, content: Inline) -> Block:
    return {"type": "base64", "media_type": media_type, "data": content.data}


def _text(content: Inline) -> str | None:
    try:
        return base64.b64decode(content.data, validate=True).decode()
    except ValueError:
        return None

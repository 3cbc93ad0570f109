"""The content of turns as Converse's content blocks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

import re
from typing import Final, assert_never

from extproc.dialects.arguments import as_object
from extproc.dialects.bedrock.models import Traits
from extproc.dialects.conversation import (
    Audio,
    CacheMark,
    Document,
    Image,
    Inline,
    Part,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    UnreadableError,
)
from extproc.dialects.media import image_type, is_text, media_type_of, not_taken
from extproc.vocabulary import Api

Block = dict[str, object]
Group = list[Block]
"""One part's blocks: its own, and the cache point behind it. Empty if there is nothing to say."""

NO_OUTPUT: Final = "(empty)"
"""What a tool came to that came to nothing: an empty list is not documented to be allowed."""

_NAME_CHARS_MAX: Final = 200
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9\s()\[\]-]+")

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html
_IMAGES: Final = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_DOCUMENT_FORMATS: Final = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}


class Blocks:
    """Writes parts of one request, which share the names of documents and the ids of calls."""

    __slots__ = ("_ids", "_made", "_names", "_taken_ids", "_taken_names", "_traits")

    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self._names: dict[str, int] = {}  # how often each was wanted
        self._taken_names: set[str] = set()
        self._ids: dict[str, str] = {}
        self._taken_ids: set[str] = set()
        self._made = 0

    def of(self, part: Part) -> Group:
        block = self._block(part)
        if block is None:
            return []
        mark = None if isinstance(part, Thinking | Audio) else part.cache
        return [block, *self.cache_point(mark)]

    def cache_point(self, mark: CacheMark | None) -> Group:
        if mark is None or self._traits.caching == "nowhere":
            return []
        lasting = {"ttl": "1h"} if mark.ttl == "1h" and self._traits.long_caching else {}
        return [{"cachePoint": {"type": "default"} | lasting}]

    def _block(self, part: Part) -> Block | None:
        block: Block | None
        match part:
            case Text():
                # Blank text is refused, white space too.
                block = {"text": part.text} if part.text.strip() else None
            case Image():
                block = _image(part)
            case Document():
                block = self._document(part)
            case Audio():
                block = {"audio": {"format": part.format, "source": {"bytes": part.data}}}
            case Thinking():
                block = self._thinking(part)
            case ToolCall():
                block = self._call(part)
            case ToolResult():
                block = self._result(part)
            case _:
                assert_never(part)
        return block

    def _document(self, part: Document) -> Block:
        inline = _inline(part.source)
        kind = media_type_of(inline)
        written = _DOCUMENT_FORMATS.get(kind, "txt" if is_text(inline) else None)
        if written is None:
            raise not_taken("a document", kind, Api.BEDROCK)
        document = {
            "format": written,
            "name": self._name(part.name or ""),
            "source": {"bytes": inline.data},
        }
        return {"document": document}

    def _name(self, wanted: str) -> str:
        """`wanted` in the characters that names may have, and like no other one's."""
        plain = " ".join(_NOT_IN_NAMES.sub("-", wanted).split()) or "document"
        plain = name = plain[:_NAME_CHARS_MAX].rstrip()
        number = self._names.get(plain, 1)
        while name in self._taken_names:
            number += 1
            suffix = f" ({number})"
            name = plain[: _NAME_CHARS_MAX - len(suffix)].rstrip() + suffix
        self._names[plain] = number
        self._taken_names.add(name)
        return name

    def _thinking(self, part: Thinking) -> Block | None:
        """Only Claude takes thinking back, and only what is signed."""
        if not self._traits.thinking:
            return None
        if part.redacted is not None:
            return {"reasoningContent": {"redactedContent": part.redacted}}
        if not part.signature:
            return None
        text = {"text": part.text, "signature": part.signature}
        return {"reasoningContent": {"reasoningText": text}}

    def _call(self, part: ToolCall) -> Block:
        call = {"toolUseId": self._id(part.id), "name": part.name}
        return {"toolUse": call | {"input": as_object(part.arguments)}}

    def _result(self, part: ToolResult) -> Block:
        content = [block for given in part.parts if (block := self._block(given))]
        result: Block = {
            "toolUseId": self._id(part.call_id),
            "content": content or [{"text": NO_OUTPUT}],
        }
        failed = {"status": "error"} if part.failed and self._traits.failures else {}
        return {"toolResult": result | failed}

    def _id(self, given: str) -> str:
        """`given` or, where it may not be an id, one that stands for it in this request."""
        if given not in self._ids:
            written = given
            while written in self._taken_ids or not _CALL_ID.fullmatch(written):
                written = f"call_{self._made}"
                self._made += 1
            self._ids[given] = written
            self._taken_ids.add(written)
        return self._ids[given]


def _image(part: Image) -> Block:
    inline = _inline(part.source)
    _, _, kind = image_type(inline, _IMAGES, Api.BEDROCK).partition("/")
    return {"image": {"format": kind, "source": {"bytes": inline.data}}}


def _inline(source: Source) -> Inline:
    if isinstance(source, Inline):
        return source
    raise UnreadableError("messages", "holds content by URL, which this API does not fetch")

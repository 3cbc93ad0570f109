"""Amazon Bedrock's Converse and ConverseStream: one API for the models of many makers."""

from __future__ import annotations

from extproc.dialects.bedrock.answer import StreamReader, read_answer
from extproc.dialects.bedrock.errors import read_error
from extproc.dialects.bedrock.request import lacks, write_request

__all__ = ["StreamReader", "lacks", "read_answer", "read_error", "write_request"]

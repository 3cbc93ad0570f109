"""The routing config as people write it, and its one way to a Snapshot: read, check, compile."""

from extproc.config.compilation import Compiled, compile_config
from extproc.config.problems import ConfigError, Problem, named_after
from extproc.config.reading import read_config, read_text, text_of

__all__ = [
    "Compiled",
    "ConfigError",
    "Problem",
    "compile_config",
    "named_after",
    "read_config",
    "read_text",
    "text_of",
]

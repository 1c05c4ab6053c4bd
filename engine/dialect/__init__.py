"""What a model's raw output means: reasoning, content and tool calls, told apart as it streams.

Pure and on the parent side: it holds no model, reads no file but mlx-lm's parsers, and never
imports mlx or transformers.
"""

from engine.dialect.opening import forced_opening
from engine.dialect.parsers import prepare
from engine.dialect.pieces import CallArguments, CallBegun, Piece, Thought, Words
from engine.dialect.splitter import Splitter

__all__ = [
    "CallArguments",
    "CallBegun",
    "Piece",
    "Splitter",
    "Thought",
    "Words",
    "forced_opening",
    "prepare",
]

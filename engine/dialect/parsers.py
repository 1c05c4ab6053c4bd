"""Which markers open and close a model's tool calls, and who reads what stands between them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from engine.dialect import markup
from engine.dialect.calls import Call
from engine.dialect.library import Foreign, foreign_parser

MAX_BLOCK = 256 * 1024
"""Characters a block may have, markers included; a longer one is text."""
MAX_UNCHECKED = markup.MAX_GUESSED
"""The same for the formats that mlx-lm's parser reads unchecked, some of them in quadratic time."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """A pair of markers around calls."""

    start: str
    end: str
    """Empty where nothing closes a block but the next one or the end of the output."""
    begins: tuple[str, ...] = ()
    """How a block must begin after the marker, space aside; empty for any way. A marker followed by
    something else was only spoken of, and need not be waited for."""
    whole: bool = False
    """Whether the parser reads the markers too."""


@dataclass(frozen=True, slots=True)
class Parser:
    """How one family writes tool calls."""

    brackets: tuple[Bracket, ...]
    read: Callable[[str], tuple[Call, ...]]
    """The calls of a block; raises anything at all, and then the block is text."""
    limit: int = MAX_BLOCK
    orphans: tuple[str, ...] = ()
    """Closing markers that may stand alone after a call and mean nothing there."""
    interrupts: tuple[str, ...] = ()
    """Opening markers that end a model's thinking without its closing tag."""


_READERS: dict[str, Callable[[markup.Parse, str], tuple[Call, ...]]] = {
    "glm47": markup.read_glm,
    "kimi_k2": markup.read_kimi,
    "kimi_k3": markup.read_kimi_xtml,
    "laguna": markup.read_glm,
    "longcat": markup.read_longcat,
    "minicpm5": markup.read_untyped,
    "minimax_m2": markup.read_invokes,
    "mistral": markup.read_mistral,
    "qwen3_coder": markup.read_functions,
}
_BEGINS = {
    "kimi_k2": ("<|tool_call_begin|>",),
    "kimi_k3": ("<|open|>call",),
    "minimax_m2": ("<invoke name=",),
    "qwen3_coder": ("<function=",),
}
_MORE_BRACKETS = {
    # Seen from Kimi K2: the section's name without its s, and calls without a section.
    "kimi_k2": (
        Bracket("<|tool_call_section_begin|>", "<|tool_call_section_end|>", _BEGINS["kimi_k2"]),
        Bracket("<|tool_call_begin|>", "<|tool_call_end|>"),
    ),
    # Seen from Qwen3 Coder: the opening <tool_call> forgotten, the closing one written.
    "qwen3_coder": (Bracket("<function=", "</function>", whole=True),),
}
_ORPHANS = {"qwen3_coder": ("</tool_call>",)}
_INTERRUPTS = {"kimi_k2": ("<|tool_calls_section_begin|>",)}
"""A single token, never written to speak of it; Kimi K2 Thinking may call while it thinks."""
_UNCHECKED = {"minicpm5"}

_PLAIN_JSON = Parser((Bracket("<tool_call>", "</tool_call>", ("{", "[")),), markup.read_json)


def _wrapped(tool_format: str, foreign: Foreign) -> Parser:
    own = Bracket(foreign.start, foreign.end, _BEGINS.get(tool_format, ()))
    checked = tool_format in _READERS and tool_format not in _UNCHECKED
    return Parser(
        (own, *_MORE_BRACKETS.get(tool_format, ())),
        partial(_READERS.get(tool_format, markup.read_plainly), foreign.parse),
        MAX_BLOCK if checked else MAX_UNCHECKED,
        _ORPHANS.get(tool_format, ()),
        _INTERRUPTS.get(tool_format, ()),
    )


@cache
def parser_for(tool_format: str) -> Parser | None:
    """How models of this format write calls.

    Args:
        tool_format: The name of a parser in ``mlx_lm.tool_parsers``, as ``Loaded.tool_format`` has
            it. ``json_tools`` is read here and needs no mlx-lm.

    Returns:
        None where nobody knows the format: then calls are not looked for.
    """
    if tool_format == "json_tools":
        return _PLAIN_JSON
    foreign = foreign_parser(tool_format)
    return None if foreign is None else _wrapped(tool_format, foreign)

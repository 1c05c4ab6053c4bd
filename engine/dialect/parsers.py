"""Which markers open and close a model's tool calls, and who reads what stands between them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from engine.dialect import markup, notation
from engine.dialect.calls import Call
from engine.dialect.library import Foreign, foreign_parser

MAX_BLOCK = 256 * 1024
"""Characters a block may have, markers included; a longer one is text."""
MAX_SLOW_BLOCK = 64 * 1024
"""The same for formats whose parser takes quadratic time: at most a quarter of a second then."""
MAX_STRANGE_BLOCK = 16 * 1024
"""The same for formats a later mlx-lm knows and nobody here has measured."""


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


_READERS: dict[str, Callable[[notation.Parse, str], tuple[Call, ...]]] = {
    "function_gemma": notation.read_function_gemma,
    "gemma4": notation.read_gemma,
    "glm47": markup.read_glm,
    "kimi_k2": notation.read_kimi,
    "kimi_k3": markup.read_xtml,
    "laguna": markup.read_glm,
    "longcat": markup.read_longcat,
    "minicpm5": markup.read_minicpm,
    "minimax_m2": markup.read_invokes,
    "mistral": notation.read_mistral,
    "muse_spark": markup.read_atem,
    "pythonic": notation.read_plainly,
    "qwen3_coder": markup.read_functions,
}
_SLOW = frozenset({"function_gemma", "gemma4", "pythonic"})
_BEGINS = {
    "kimi_k2": ("<|tool_call_begin|>",),
    "kimi_k3": ("<|open|>call",),
    "minimax_m2": ("<invoke",),
    "muse_spark": ("<atem:invoke",),
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
_INTERRUPTING = frozenset({"kimi_k2", "kimi_k3"})
"""These go from thinking to a call without closing it. Their markers are single tokens, which a
model does not write to speak of them."""

_PLAIN_JSON = Parser((Bracket("<tool_call>", "</tool_call>", ("{", "[")),), notation.read_json)


def _wrapped(tool_format: str, foreign: Foreign) -> Parser:
    own = Bracket(foreign.start, foreign.end, _BEGINS.get(tool_format, ()))
    brackets = (own, *_MORE_BRACKETS.get(tool_format, ()))
    limit = MAX_BLOCK if tool_format in _READERS else MAX_STRANGE_BLOCK
    return Parser(
        brackets,
        partial(_READERS.get(tool_format, notation.read_plainly), foreign.parse),
        MAX_SLOW_BLOCK if tool_format in _SLOW else limit,
        _ORPHANS.get(tool_format, ()),
        tuple(bracket.start for bracket in brackets) if tool_format in _INTERRUPTING else (),
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


_prepared: set[str] = set()


async def prepare(tool_format: str) -> None:
    """Load the parser of this format aside: the first one takes 60 ms of a CPU, for ``regex``.

    Whoever serves an event loop waits for this once before a splitter or an opening is asked for.
    """
    if tool_format not in _prepared:
        await asyncio.to_thread(parser_for, tool_format)
        _prepared.add(tool_format)

"""Takes the raw output of a model apart as it comes: thoughts, words and tool calls.

What comes out joined is the same however the text was cut into pushes. A part of a tag is never
given away as words: it is held back until it is a tag or can be none. The rules:

- Thinking may begin only where an answer or a stretch of it begins: at the start, after a call,
  after other thinking. A tag in the middle of a sentence is only spoken of. Thinking that is not
  closed runs to the end. Space around thoughts, and between them and content, is dropped.
- Calls are looked for only if tools were offered, and never inside thinking. A block is read when
  it is complete; then its calls come out together. What turns out to be no call (damaged, not
  closed, too long, a tool nobody offered) is content, exactly as written.
- Space that touches a call belongs to its markup and is dropped; all other space stays.
- A model without a known format may answer with one bare JSON object that names an offered tool.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from engine.dialect.calls import Settled, Toolbox
from engine.dialect.notation import read_bare_object
from engine.dialect.parsers import MAX_BLOCK, Bracket, Parser, parser_for
from engine.dialect.pieces import CallArguments, CallBegun, Piece, Thought, Words

THINK = ("<think>", "</think>")
"""The pair nearly every reasoning model writes, whether or not it reports one."""
_BARE_KEYS = tuple(f'"{key}"' for key in ("name", "arguments", "parameters", "type"))
_NO_PARSER = Parser((), read_bare_object)
_NO_BRACKET = Bracket("", "")
_WINDOW = 4096
"""Characters looked at to tell how a text begins, and taken into the buffer at a time: cutting the
buffer at each of many tags then costs no more than the tags."""


class _Phase(Enum):
    EDGE = auto()
    """Nothing of a stretch of the answer has been written yet."""
    THINKING = auto()
    TEXT = auto()
    BLOCK = auto()
    BARE = auto()


class _Flow(NamedTuple):
    """Where the output may go on without a look at it, as long as nothing begins a tag."""

    kind: type[Thought] | type[Words]
    letters: frozenset[str]
    """The first letters of the tags that could come."""


def _begun(text: str, tags: tuple[str, ...]) -> int:
    """Characters at the end of the text that may begin one of the tags and do not end it."""
    longest = max(map(len, tags), default=1)
    for length in range(min(longest - 1, len(text)), 0, -1):
        tail = text[-length:]
        if any(tag.startswith(tail) and tag != tail for tag in tags):
            return length
    return 0


def _may_become(text: str, tags: tuple[str, ...]) -> bool:
    return any(tag.startswith(text) for tag in tags)


class Splitter:
    """One answer's output, taken apart.

    Args:
        tool_format: How the model writes calls (``Loaded.tool_format``); empty for no known way.
        thinking: The model's own thinking tags, if it reports any (``Loaded.thinking``).
        begins_thinking: Whether the prompt opened the thinking (``Started.thinking``).
        tools: The tools offered, in OpenAI's form; empty if calls are not to be looked for.
        opening: Text put in the model's mouth (``forced_opening``), read as if it had written it.
            It is taken to stand outside the thinking, unless it closes it itself.
        new_id: Makes an id for a call.
    """

    def __init__(
        self,
        tool_format: str,
        thinking: tuple[str, str] | None,
        *,
        begins_thinking: bool,
        tools: tuple[Mapping[str, object], ...],
        new_id: Callable[[], str],
        opening: str = "",
    ) -> None:
        self._toolbox = Toolbox(tools, new_id)
        self._parser = (parser_for(tool_format) if self._toolbox else None) or _NO_PARSER
        self._bare = bool(self._toolbox) and not tool_format
        self._pairs = dict((THINK, thinking or THINK))
        self._close = (thinking or THINK)[1]
        self._edge_tags = (*self._pairs, *self._pairs.values(), *self._parser.orphans)
        self._brackets = {bracket.start: bracket for bracket in self._parser.brackets}
        self._starts = tuple(self._brackets)
        self._marker = re.compile("|".join(map(re.escape, self._starts)))
        self._bracket = _NO_BRACKET
        self._buffer = ""
        self._seen = 0
        """Characters of the block already searched for its end."""
        self._space = ""
        """Space before the block, kept until it is known whether the block is a call."""
        self._count = 0
        inside = begins_thinking and (not opening or self._close in opening)
        self._phase = _Phase.THINKING if inside else _Phase.EDGE
        self._first = not inside
        """Nothing came before this edge: its space is the answer's own."""
        self._fresh = True
        """Nothing but space has been thought yet."""
        self._flow: _Flow | None = None
        self._final = False
        self._out: list[Piece] = []
        self._take(opening)

    def push(self, text: str) -> list[Piece]:
        """Take the next part of the output; returns what is now certain."""
        flow = self._flow
        if flow and text and not text[-1].isspace() and flow.letters.isdisjoint(text):
            piece = flow.kind(self._buffer + text)
            self._buffer = ""
            return [piece]
        self._take(text)
        out, self._out = self._out, []
        return out

    def finish(self) -> list[Piece]:
        """The output has ended: returns the rest, what was held back included."""
        self._final = True
        self._drain()
        out, self._out = self._out, []
        return out

    def _take(self, text: str) -> None:
        for at in range(0, len(text), _WINDOW):
            self._buffer += text[at : at + _WINDOW]
            self._drain()

    def _drain(self) -> None:
        self._flow = None
        while self._buffer and self._step():
            pass

    def _step(self) -> bool:
        match self._phase:
            case _Phase.EDGE:
                return self._edge()
            case _Phase.THINKING:
                return self._think()
            case _Phase.TEXT:
                return self._text()
            case _Phase.BLOCK:
                return self._block()
            case _Phase.BARE:
                return self._bare_object()

    # Each step takes what it can from the buffer and returns whether another may go on.

    def _enter(self, phase: _Phase) -> bool:
        self._phase = phase
        return True

    def _give(self, kind: type[Thought] | type[Words], text: str) -> None:
        if not text:
            return
        last = self._out[-1] if self._out else None
        if isinstance(last, kind):
            self._out[-1] = kind(last.text + text)
        else:
            self._out.append(kind(text))

    def _let_flow(self, kind: type[Thought] | type[Words], tags: tuple[str, ...]) -> bool:
        """No tag is in the buffer: give all of it but trailing space and what may begin one."""
        held = 0 if self._final else _begun(self._buffer, tags)
        certain = self._buffer[: len(self._buffer) - held]
        if kind is Thought or (tags and not self._final):
            certain = certain.rstrip()
        self._give(kind, certain)
        self._buffer = "" if self._final else self._buffer[len(certain) :]
        if not held:
            self._flow = _Flow(kind, frozenset(tag[0] for tag in tags))
        return False

    def _edge(self) -> bool:
        rest = self._buffer.lstrip()
        lead = self._buffer[: len(self._buffer) - len(rest)] if self._first else ""
        self._buffer = lead + rest
        for tag in self._edge_tags:
            if rest.startswith(tag):
                self._buffer = rest[len(tag) :]
                self._first = False
                if tag in self._pairs:
                    self._close = self._pairs[tag]
                    self._fresh = True
                    self._phase = _Phase.THINKING
                return True
        if _may_become(rest, self._edge_tags) and not self._final:
            return False
        bare = self._bare and self._count == 0 and rest.startswith("{")
        return self._enter(_Phase.BARE if bare else _Phase.TEXT)

    def _think(self) -> bool:
        if self._fresh:
            # The prompt may have opened the thinking and the model open it once more.
            opened = tuple(tag for tag, close in self._pairs.items() if close == self._close)
            self._buffer = self._buffer.lstrip()
            while self._buffer.startswith(opened):
                tag = next(tag for tag in opened if self._buffer.startswith(tag))
                self._buffer = self._buffer[len(tag) :].lstrip()
            if _may_become(self._buffer, opened) and not self._final:
                return False
        ends = (self._close, *self._parser.interrupts)
        found = [(at, tag) for tag in ends if (at := self._buffer.find(tag)) >= 0]
        if found:
            at, tag = min(found)
            self._give(Thought, self._buffer[:at].rstrip())
            self._buffer = self._buffer[at + (len(tag) if tag == self._close else 0) :]
            self._first = False
            return self._enter(_Phase.EDGE)
        self._fresh = False
        return self._let_flow(Thought, ends)

    def _text(self) -> bool:
        found = self._marker.search(self._buffer) if self._starts else None
        if found is None:
            return self._let_flow(Words, self._starts)
        before = self._buffer[: found.start()]
        said = before.rstrip()
        self._give(Words, said)
        self._space = before[len(said) :]
        self._buffer = self._buffer[found.start() :]
        self._bracket = self._brackets[found[0]]
        self._seen = len(found[0])
        return self._enter(_Phase.BLOCK)

    def _no_call(self, length: int) -> bool:
        """So much of the buffer, from the block's start, is text after all."""
        self._give(Words, self._space + self._buffer[:length])
        self._space = ""
        self._buffer = self._buffer[length:]
        return self._enter(_Phase.TEXT)

    def _block(self) -> bool:
        start, end = self._bracket.start, self._bracket.end
        rest = self._buffer[len(start) : len(start) + _WINDOW].lstrip()
        begins = self._bracket.begins
        if begins and rest and not rest.startswith(begins) and not _may_become(rest, begins):
            return self._no_call(len(start))
        limit = self._parser.limit
        if end:
            at = self._buffer.find(end, self._seen, limit)
            length = at + len(end)
        else:
            at = length = self._buffer.find(start, self._seen, limit)
        if at < 0 and len(self._buffer) >= limit:
            return self._no_call(limit)
        if at < 0 and not self._final:
            self._seen = max(len(start), len(self._buffer) - len(end or start) + 1)
            return False
        if at < 0:
            at = length = len(self._buffer)
            if end:
                return self._no_call(length)
        return self._close_block(at, length)

    def _close_block(self, at: int, length: int) -> bool:
        """Read the block that ends at ``length``, its inside at ``at``; the last one begun in it
        if the whole makes no sense."""
        start = self._bracket.start
        for opened in dict.fromkeys((0, self._buffer.rfind(start, 0, at))):
            inside = self._buffer[opened:length] if self._bracket.whole else None
            calls = self._calls(inside or self._buffer[opened + len(start) : at])
            if calls:
                if opened:
                    self._give(Words, (self._space + self._buffer[:opened]).rstrip())
                self._space = ""
                self._buffer = self._buffer[length:]
                self._first = False
                self._announce(calls)
                return self._enter(_Phase.EDGE)
        return self._no_call(length)

    def _calls(self, text: str) -> tuple[Settled, ...]:
        try:
            with warnings.catch_warnings():
                # Python's own parser warns, on standard error, about a text it is made to read.
                warnings.simplefilter("ignore")
                return self._toolbox.settle(self._parser.read(text))
        except Exception:
            # The text is hostile and the parsers are not ours: whatever they raise, recursion and
            # the MemoryError of Python's parser for deep nesting included, this was no call.
            return ()

    def _announce(self, calls: tuple[Settled, ...]) -> None:
        for call in calls:
            self._out.append(CallBegun(self._count, call.id, call.name))
            self._out.append(CallArguments(self._count, call.arguments))
            self._count += 1

    def _bare_object(self) -> bool:
        """The whole answer may be one JSON object that is a call."""
        key = self._buffer[:_WINDOW].lstrip()[1:].lstrip()
        hopeless = key and not key.startswith(_BARE_KEYS) and not _may_become(key, _BARE_KEYS)
        if hopeless or len(self._buffer) > MAX_BLOCK:
            return self._enter(_Phase.TEXT)
        if not self._final:
            return False
        calls = self._calls(self._buffer)
        if calls:
            self._announce(calls)
        else:
            self._give(Words, self._buffer)
        self._buffer = ""
        return False

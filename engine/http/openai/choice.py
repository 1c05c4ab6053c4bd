"""One answer on its way to a client: raw deltas in, content, thinking, calls and figures out."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.dialect import (
    CallArguments,
    CallBegun,
    Piece,
    Splitter,
    Thought,
    Words,
    forced_opening,
)
from engine.errors import Code, Decision, refuse
from engine.face import Chance, ChatDelta, ChatEnd, ChatStream
from engine.http.openai.translation import Wish
from engine.types import ModelView

THINKING = ("<think>",)
"""How a thought begins where the prompt left no room for one."""


@dataclass(slots=True)
class Told:
    """A call as far as it has been told."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Choice:
    """What one stream has answered so far; :meth:`hear` returns what is new."""

    index: int
    stream: ChatStream
    wish: Wish
    view: ModelView
    content: str = ""
    thought: str = ""
    calls: list[Told] = field(default_factory=list)
    chances: list[Chance] = field(default_factory=list)
    thought_tokens: int = 0
    end: ChatEnd | None = None
    enough: bool = False
    """It was ended here: what follows is not wanted."""
    _head: str = ""
    """Text held back until it is known how to read it."""
    _splitter: Splitter | None = None

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, in OpenAI's words."""
        if self.end is None or self.refusal is not None:
            return None
        if self.calls:
            return "tool_calls"
        return self.end.reason

    @property
    def refusal(self) -> Decision | None:
        """Why it failed; also one that was cancelled over its client's head."""
        if self.end is None:
            return None
        if self.end.decision is None and self.end.reason == "cancelled" and not self.enough:
            return refuse(
                Code.CONFLICT,
                "this request was cancelled by an operator",
                expected="an answer",
                found="cancelled",
                remedy="ask the operator of this server",
            )
        return self.end.decision

    def hear(self, said: ChatDelta | ChatEnd) -> list[Piece]:
        """Take in what came next; returns what of it can be told."""
        if isinstance(said, ChatEnd):
            return self._finish(said)
        self.chances.extend(said.chances)
        if self.wish.prompt is not None:
            pieces: list[Piece] = [Words(said.text)] if said.text else []
        else:
            pieces = self._split(said.text)
        if pieces and all(isinstance(piece, Thought) for piece in pieces):
            self.thought_tokens += said.tokens
        return self._keep(pieces)

    def take_chances(self) -> list[Chance]:
        """The chances of tokens not told yet."""
        chances, self.chances = self.chances, []
        return chances

    def _finish(self, end: ChatEnd) -> list[Piece]:
        self.end = end
        if self.wish.prompt is not None:
            return []
        pieces = self._split("", last=True)
        return self._keep([*pieces, *(self._splitter.finish() if self._splitter else ())])

    def _split(self, text: str, *, last: bool = False) -> list[Piece]:
        """Take text apart, once its beginning shows whether it goes on from its opening."""
        if self._splitter is not None:
            return self._splitter.push(text)
        self._head += text
        opening = self.wish.options.opening
        if opening:
            lead = self._head.lstrip()
            anew = (forced_opening(self.view.tool_format, None).strip(), *THINKING)
            if not last and any(mark.startswith(lead) for mark in anew):
                return []
            if lead.startswith(anew):
                opening = ""  # the model began its call, or a thought, all over again
        self._splitter = Splitter(
            self.view.tool_format,
            self.view.thinking,
            begins_thinking=self.stream.thinking,
            tools=self.wish.tools,
            opening=opening,
            new_id=lambda: f"call_{uuid.uuid4().hex[:24]}",
        )
        return self._splitter.push(self._head)

    def _keep(self, pieces: Sequence[Piece]) -> list[Piece]:
        pieces = self._wanted(pieces)
        for piece in pieces:
            match piece:
                case Words():
                    self.content += piece.text
                case Thought():
                    self.thought += piece.text
                case CallBegun():
                    self.calls.append(Told(piece.id, piece.name))
                case CallArguments():
                    self.calls[piece.index].arguments += piece.delta
        return list(pieces)

    def _wanted(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """The pieces up to a second call, where only one is wanted; nothing follows it."""
        if not self.wish.one_call:
            return pieces
        kept: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, CallBegun) and piece.index > 0 and not self.enough:
                self.enough = True
                self.stream.cancel()
            if not self.enough:
                kept.append(piece)
        return kept


def usage(choices: Sequence[Choice]) -> dict[str, object]:
    """Tokens read and written; a prompt shared by several choices counts once."""
    ends = [choice.end for choice in choices if choice.end is not None]
    prompts: dict[str | None, tuple[int, int]] = {}
    for choice in choices:
        if choice.end is not None:
            key = choice.wish.prompt
            prompts[key] = (choice.end.prompt_tokens, choice.end.cached_tokens)
    prompt = sum(tokens for tokens, _ in prompts.values())
    completion = sum(end.completion_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(cached for _, cached in prompts.values())},
        "completion_tokens_details": {
            "reasoning_tokens": sum(choice.thought_tokens for choice in choices)
        },
    }

"""How a model writes: its prompts, its tool calls and its thinking, as its own files show.

What tells one way of writing from another is mlx-lm's decision (``_infer_tool_parser`` and
``_infer_thinking`` of its tokenizer_utils, 0.32.2), repeated here so that a GGUF file is read the
same without importing it. A test holds the two side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from engine.backends.base import RequestError
from engine.workers.protocol import Generate, Message

Knows = Callable[[str], bool]
"""Whether a text is one token of the vocabulary."""

_FORMATS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("minimax_m2", lambda t: "<minimax:tool_call>" in t),
    ("gemma4", lambda t: "<|tool_call>" in t and "<tool_call|>" in t),
    ("function_gemma", lambda t: "<start_function_call>" in t),
    ("longcat", lambda t: "<longcat_tool_call>" in t),
    ("glm47", lambda t: "<arg_key>" in t),
    ("pythonic", lambda t: "<|tool_list_start|>" in t or "<|tool_call_start|>" in t),
    (
        "qwen3_coder",
        # A template writes the line's end as itself or, inside a string, as an escape.
        lambda t: "<tool_call>\\n<function=" in t or "<tool_call>\n<function=" in t,
    ),
    ("kimi_k2", lambda t: "<|tool_calls_section_begin|>" in t),
    ("minicpm5", lambda t: '<function name="' in t and '<param name="' in t),
    ("mistral", lambda t: "[TOOL_CALLS]" in t),
    ("muse_spark", lambda t: "<atem:function_calls>" in t),
    ("json_tools", lambda t: "<tool_call>" in t and "tool_call.name" in t),
)
"""Names of mlx-lm's parsers and what of a template shows each; the first that fits counts."""
_XTML = ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>")
_THINKING = (
    ("<think>", "</think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
)


def tool_format(template: str | None, knows: Knows) -> str:
    """The name of the parser that reads this model's tool calls, or empty."""
    for name, shows in _FORMATS:
        if template is not None and shows(template):
            return name
    if all(map(knows, _XTML)):
        return "kimi_k3"
    if knows("<|tool_call_start|>") and knows("<|tool_call_end|>"):
        return "pythonic"
    return ""


def thinking(template: str | None, knows: Knows) -> tuple[str, str] | None:
    """The texts that open and close this model's thinking, or None.

    Where mlx-lm, which asks the vocabulary alone, knows of none, a template that writes both texts
    decides: some models were trained to think without tokens of their own for it.
    """
    for pair in _THINKING:
        if all(map(knows, pair)):
            return pair
    if knows("<|channel>") and knows("<channel|>"):
        return "<|channel>thought", "<channel|>"
    if all(map(knows, _XTML)):
        return "<|open|>think<|sep|>", "<|close|>think<|sep|>"
    for pair in _THINKING:
        if template is not None and all(mark in template for mark in pair):
            return pair
    return None


class Render(Protocol):
    """Turns a conversation into a prompt. Raises RequestError, of kind ``template``."""

    def __call__(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        opening: bool = True,
    ) -> str:
        """The prompt; ``opening`` opens the assistant's turn at its end."""
        ...


class Prompt(NamedTuple):
    """What a request's answer continues."""

    text: str
    inside: str = ""
    """The text that closes the thinking block the answer begins in; empty where it is in none."""

    @property
    def thinking(self) -> bool:
        """Whether the answer begins inside a thinking block."""
        return bool(self.inside)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One model's way of writing. Without ``render`` it has no chat template."""

    render: Render | None = None
    tool_format: str = ""
    thinking: tuple[str, str] | None = None

    def prompt(self, request: Generate) -> Prompt:
        """The text a request's answer continues.

        Raises:
            RequestError: there is nothing to continue, or it cannot be rendered.
        """
        if request.prompt is not None:
            text = request.prompt + request.opening
            return Prompt(text, self._inside(text))
        if not request.messages:
            raise RequestError("invalid", "neither messages nor a prompt")
        text = self.chat(request)
        inside = self._inside(text)
        if inside and self.thinking and self._spoken(request.messages, self.thinking[0]):
            # Somebody only spoke of thinking: what was not said in the conversation counts.
            text_before = self.chat(request, opening=False)
            inside = self._inside(text.removeprefix(text_before))
        if inside and self.thinking and _is_set(request, self.thinking[1]):
            text, inside = f"{text}{self.thinking[1]}\n\n", ""
        opened = self.thinking[0] if inside and self.thinking else ""
        return Prompt(text + request.opening, self._inside(opened + request.opening))

    def chat(self, request: Generate, *, opening: bool = True) -> str:
        """A request's conversation, rendered. Raises as ``prompt`` does."""
        return self.renderer(
            request.messages,
            tools=request.tools,
            options=request.template_options,
            opening=opening,
        )

    @property
    def renderer(self) -> Render:
        """How it renders. Raises RequestError where it has no template."""
        if self.render is None:
            raise RequestError("template", "this model has no chat template: completions only")
        return self.render

    def _inside(self, text: str) -> str:
        marks = self.thinking
        return marks[1] if marks and text.rfind(marks[0]) > text.rfind(marks[1]) else ""

    @staticmethod
    def _spoken(messages: Sequence[Message], mark: str) -> bool:
        return any(mark in message.content for message in messages)


def _is_set(request: Generate, close: str) -> bool:
    """Whether the answer must begin with given words that do not themselves end the thinking."""
    return bool(request.opening) and close not in request.opening

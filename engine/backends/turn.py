"""A conversation as chat templates know it: OpenAI's structure, but arguments are objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.workers.protocol import Message, ToolCall

RESERVED = frozenset(
    {
        "messages",
        "tools",
        "add_generation_prompt",
        "bos_token",
        "eos_token",
        # What transformers' own renderer would take for itself, where a model's template is code.
        "conversation",
        "documents",
        "chat_template",
        "continue_final_message",
        "tokenize",
        "padding",
        "truncation",
        "max_length",
        "return_tensors",
        "return_dict",
        "return_assistant_tokens_mask",
        "tokenizer_kwargs",
    }
)
"""Names a request's options never stand for."""


def free_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose names are theirs to take."""
    return {name: value for name, value in options.items() if name not in RESERVED}


def as_turns(messages: Sequence[Message], *, parsed: bool = True) -> list[dict[str, Any]]:
    """The messages as a template's ``messages``.

    What a message does not have is absent, not None: templates ask ``is defined``.

    Args:
        parsed: Give a call's arguments as an object, if their text is one. Templates expect that;
            the code that mlx-lm ships instead of some templates expects the text.
    """
    return [_turn(message, parsed) for message in messages]


def _turn(message: Message, parsed: bool) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, parsed) for call in message.tool_calls]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        turn["name"] = message.name
    return turn


def _call(call: ToolCall, parsed: bool) -> dict[str, Any]:
    arguments = _object(call.arguments) if parsed else call.arguments
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _object(text: str) -> dict[str, Any] | str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text

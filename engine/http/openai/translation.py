"""From OpenAI's words to the engine's: turns, options, tools and the form an answer must have."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.dialect import forced_opening
from engine.errors import EngineError
from engine.face import Call, ChatOptions, ChatTurn
from engine.http.openai.bodies import (
    ChatBody,
    ChatMessage,
    CompletionBody,
    Drawing,
    InputItem,
    Part,
    ResponseFormat,
    ResponsesBody,
    Stops,
    Tool,
    invalid,
)
from engine.types import ModelView

_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal", "summary_text"})
_DRAWN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)
_UNBOUNDED = 1 << 24
"""Tokens of an answer whose client states no limit: the model's context ends it."""
_COMPLETION_TOKENS = 16
"""OpenAI's own default for legacy completions."""
_ROLES = {"developer": "system"}


@dataclass(frozen=True, slots=True)
class Wish:
    """One request in the engine's words."""

    turns: tuple[ChatTurn, ...]
    options: ChatOptions
    stated: frozenset[str]
    """The fields of ``options`` the client chose; the rest may come from the settings."""
    prompt: str | None = None
    one_call: bool = False
    """At most one tool call is wanted (``parallel_tool_calls`` is false)."""

    @property
    def tools(self) -> tuple[Mapping[str, object], ...]:
        return self.options.tools


def chat_wish(body: ChatBody, view: ModelView) -> Wish:
    """A chat completion. Raises EngineError (``invalid_request``)."""
    options, stated = _drawn(body)
    limit = body.max_completion_tokens or body.max_tokens
    tools = _tools(body.tools or (), body.tool_choice)
    chosen = body.tool_choice
    name = chosen.function.name if chosen is not None and not isinstance(chosen, str) else None
    options |= {
        "max_tokens": limit or _UNBOUNDED,
        "stop": _stops(body.stop),
        "tools": tools,
        "opening": _opening(view, tools, name, required=chosen == "required"),
        "template_options": _effort(body.reasoning_effort) | (body.chat_template_kwargs or {}),
        "json_schema": _schema(body.response_format, tools),
    }
    if body.logprobs:
        options["logprobs"] = body.top_logprobs or 0
    elif body.top_logprobs is not None:
        raise EngineError(invalid("top_logprobs", "top_logprobs needs logprobs to be true"))
    turns = tuple(_turn(number, message) for number, message in enumerate(body.messages))
    return Wish(
        turns,
        ChatOptions(**options),
        stated | ({"max_tokens"} if limit else set()),
        one_call=body.parallel_tool_calls is False,
    )


def completion_wish(body: CompletionBody, prompt: str) -> Wish:
    """One prompt of a legacy completion."""
    options, stated = _drawn(body)
    options["max_tokens"] = body.max_tokens or _COMPLETION_TOKENS
    options["stop"] = _stops(body.stop)
    options["logprobs"] = body.logprobs
    return Wish((), ChatOptions(**options), stated | {"max_tokens"}, prompt=prompt)


def responses_wish(body: ResponsesBody, view: ModelView) -> Wish:
    """A response. Raises EngineError (``invalid_request``)."""
    options, stated = _drawn(body)
    for tool in body.tools or ():
        if tool.type != "function" or not tool.name:
            raise EngineError(
                invalid("tools", "only function tools are supported", tool.type, "function")
            )
    nested = tuple(
        Tool.model_validate({"type": "function", "function": tool.model_dump(exclude={"type"})})
        for tool in body.tools or ()
    )
    tools = _tools(nested, body.tool_choice)
    chosen = body.tool_choice
    name = chosen.name if chosen is not None and not isinstance(chosen, str) else None
    form = body.text.format if body.text else None
    wanted = None
    if form is not None:
        schema = {"name": form.name, "schema": form.schema_} if form.schema_ is not None else None
        wanted = ResponseFormat.model_validate({"type": form.type, "json_schema": schema})
    options |= {
        "max_tokens": body.max_output_tokens or _UNBOUNDED,
        "tools": tools,
        "opening": _opening(view, tools, name, required=chosen == "required"),
        "json_schema": _schema(wanted, tools, "text.format"),
        "template_options": _effort(body.reasoning.effort if body.reasoning else None),
    }
    turns = list(_input_turns(body.input))
    if body.instructions:
        turns.insert(0, ChatTurn("system", body.instructions))
    return Wish(
        tuple(turns),
        ChatOptions(**options),
        stated | ({"max_tokens"} if body.max_output_tokens else set()),
        one_call=body.parallel_tool_calls is False,
    )


def _drawn(body: Drawing) -> tuple[dict[str, Any], frozenset[str]]:
    options = {name: value for name in _DRAWN if (value := getattr(body, name)) is not None}
    if body.logit_bias:
        options["logit_bias"] = body.logit_bias
    return options, frozenset(options)


def _effort(effort: str | None) -> dict[str, bool | int | float | str]:
    """How much to think, by the names chat templates know; those that know none ignore it."""
    if effort is None:
        return {}
    return {"reasoning_effort": effort, "enable_thinking": effort != "none"}


def _stops(stop: Stops | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _tools(tools: Sequence[Tool], choice: object) -> tuple[dict[str, object], ...]:
    if choice == "none":
        return ()
    given = tuple(tool.model_dump(exclude_none=True) for tool in tools)
    if choice not in (None, "auto") and not given:
        raise EngineError(invalid("tool_choice", "tool_choice asks for a call and tools is empty"))
    return given


def _opening(
    view: ModelView, tools: Sequence[Mapping[str, object]], name: str | None, *, required: bool
) -> str:
    """The words that make a model call: a required call is one it has begun already."""
    if name is None and not required:
        return ""
    names = [tool["function"]["name"] for tool in tools]  # type: ignore[index]
    if name is not None and name not in names:
        raise EngineError(
            invalid("tool_choice", f"no tool is named {name!r}", expected=", ".join(names))
        )
    if required and len(names) == 1:
        name = names[0]
    opening = forced_opening(view.tool_format, name)
    if not opening:
        raise EngineError(
            invalid(
                "tool_choice",
                f"a call cannot be required of {view.id}: how it writes calls is unknown",
                expected="auto or none",
            )
        )
    return opening


def _schema(
    wanted: ResponseFormat | None,
    tools: Sequence[Mapping[str, object]],
    param: str = "response_format",
) -> str | None:
    if wanted is None or wanted.type == "text":
        return None
    if tools:
        raise EngineError(
            invalid(param, "an answer cannot be both held to JSON and free to call tools")
        )
    if wanted.type == "json_object":
        return '{"type":"object"}'
    if wanted.json_schema is None:
        raise EngineError(invalid(f"{param}.json_schema", "json_schema is missing"))
    return json.dumps(wanted.json_schema.schema_)


def _text(content: str | tuple[Part, ...] | None, param: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for number, part in enumerate(content):
        text = part.text if part.text is not None else part.refusal
        if part.type not in _TEXT_PARTS or text is None:
            found = part.type if part.type not in _TEXT_PARTS else "no text"
            raise EngineError(
                invalid(f"{param}[{number}]", "models here read text only", found, "a text part")
            )
        texts.append(text)
    return "\n".join(texts)


def _turn(number: int, message: ChatMessage) -> ChatTurn:
    return ChatTurn(
        role=_ROLES.get(message.role, message.role),
        content=_text(message.content, f"messages[{number}].content"),
        reasoning=message.reasoning_content,
        tool_calls=tuple(
            Call(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        ),
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _input_turns(items: str | tuple[InputItem, ...]) -> Iterable[ChatTurn]:
    """The conversation of a response; calls in a row are one assistant's turn, as templates
    expect them."""
    if isinstance(items, str):
        yield ChatTurn("user", items)
        return
    calls: list[Call] = []
    for number, item in enumerate(items):
        param = f"input[{number}]"
        if item.type == "function_call":
            calls.append(Call(item.call_id or "", item.name or "", item.arguments or ""))
            continue
        if calls:
            yield ChatTurn("assistant", "", tool_calls=tuple(calls))
            calls = []
        if item.type == "function_call_output":
            output = _text(item.output, f"{param}.output")
            yield ChatTurn("tool", output, tool_call_id=item.call_id)
        elif item.type == "message" and item.role is not None:
            role = _ROLES.get(item.role, item.role)
            yield ChatTurn(role, _text(item.content, f"{param}.content"))
        elif item.type != "reasoning":  # what it thought before is not read again
            raise EngineError(
                invalid(
                    param,
                    "this kind of input item is not supported",
                    item.type,
                    "a message with a role, a function_call or a function_call_output",
                )
            )
    if calls:
        yield ChatTurn("assistant", "", tool_calls=tuple(calls))

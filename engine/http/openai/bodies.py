"""What clients may send, in OpenAI's words. Unknown fields are ignored, as OpenAI ignores them;
fields that would change the answer and that nothing here can do are refused by name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.errors import Code, EngineError, refuse

MOST_CHOICES = 16
"""Answers one request may ask for: each takes a slot of its own."""
_UNSUPPORTED = {
    "audio": "no model here speaks",
    "modalities": "answers are text",
    "functions": "use tools",
    "function_call": "use tool_choice",
    "web_search_options": "nothing here searches the web",
    "prediction": "predicted outputs are not used",
    "suffix": "no model here fills in the middle",
    "previous_response_id": "responses are not stored: send the whole conversation",
    "conversation": "conversations are not stored: send the whole of it",
    "background": "responses are not stored",
    "prompt_id": "prompts are not stored",
    "include": "nothing further can be included",
}
_HARMLESS: dict[str, tuple[object, ...]] = {
    "modalities": (["text"],),
    "function_call": ("none",),
    "suffix": ("",),
    "background": (False,),
    "include": ([], ["reasoning.encrypted_content"]),
}
"""Values of those fields that ask for nothing."""


def refuse_unsupported(body: dict[str, Any]) -> None:
    """Raise EngineError (``invalid_request``) for a field nothing here can honour."""
    for field, why in _UNSUPPORTED.items():
        value = body.get(field)
        if value is not None and value not in _HARMLESS.get(field, ()):
            raise EngineError(invalid(field, f"{field} is not supported: {why}", repr(value)))


def invalid(param: str, message: str, found: str = "", expected: str = "") -> Any:
    """The Decision for a field that cannot be honoured."""
    return refuse(
        Code.INVALID_REQUEST,
        message,
        expected=expected or "a field this server can honour",
        found=found[:200],
        remedy=f"leave {param} out, or change it",
        param=param,
    )


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(Body):
    """A piece of a message."""

    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Body):
    """The function of a call made earlier."""

    name: str
    arguments: str = ""


class EarlierCall(Body):
    """A tool call made earlier."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[EarlierCall, ...] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(Body):
    """A function a model may call."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool in the form of chat completions."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    """Which function must be called."""

    name: str


class NamedChoice(Body):
    """``tool_choice`` naming a function."""

    type: Literal["function"] = "function"
    function: NamedFunction


class SchemaFormat(Body):
    """A JSON schema the answer must keep."""

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class ResponseFormat(Body):
    """What form the answer must have."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: SchemaFormat | None = None


class StreamOptions(Body):
    """What a stream tells besides text."""

    include_usage: bool = False


Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Tokens = Annotated[int, Field(ge=1)]
Stops = str | Annotated[tuple[str, ...], Field(max_length=16)]


class Drawing(Body):
    """How tokens are drawn, common to all three endpoints."""

    model: Annotated[str, Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    repeat_penalty: Annotated[float, Field(gt=0)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None


class CompletionDrawing(Drawing):
    """What chat and legacy completions have in common."""

    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = 1
    stop: Stops | None = None
    stream_options: StreamOptions | None = None


class ChatBody(CompletionDrawing):
    """``POST /v1/chat/completions``."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = True
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, bool | int | float | str] | None = None
    reasoning_effort: str | None = None


class CompletionBody(CompletionDrawing):
    """``POST /v1/completions``."""

    prompt: str | Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_CHOICES)]
    max_tokens: Tokens | None = None
    echo: bool | None = False
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    best_of: int | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _text(cls, prompt: Any) -> Any:
        if isinstance(prompt, list) and any(not isinstance(part, str) for part in prompt):
            raise ValueError("token ids are not supported; send the prompt as text")
        return prompt


class FlatTool(Body):
    """A tool in the form of responses."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FlatChoice(Body):
    """``tool_choice`` of responses, naming a function."""

    type: Literal["function"]
    name: str


class TextFormat(Body):
    """What form the text must have, in responses."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = ""
    schema_: dict[str, Any] | None = Field(alias="schema", default=None)


class Reasoning(Body):
    """``reasoning`` of responses."""

    effort: str | None = None


class TextOptions(Body):
    """``text`` of responses."""

    format: TextFormat | None = None


class InputItem(Body):
    """One item of a response's input: a message, a call made earlier, or its output."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | tuple[Part, ...] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | tuple[Part, ...] | None = None


class ResponsesBody(Drawing):
    """``POST /v1/responses``."""

    input: str | Annotated[tuple[InputItem, ...], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    tools: tuple[FlatTool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | None = None
    parallel_tool_calls: bool | None = True
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, str] | None = None

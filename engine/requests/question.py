"""What callers ask, in the engine's own words, or refused with the field that is wrong."""

import math
from collections.abc import Sequence

from pydantic import ValidationError

from engine.errors import Code, Decision, EngineError, refuse
from engine.face import ChatOptions, ChatTurn, LoadOptions
from engine.workers.protocol import Generate, Message, Sampling


def asked(options: LoadOptions | None) -> LoadOptions:
    """The options of a load, or none.

    Raises:
        EngineError: ``invalid_request``; a figure is no figure, or not above zero.
    """
    options = options or LoadOptions()
    for name in ("reserve_gb", "context", "keep_alive_s", "ranks"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise EngineError(
                refuse(
                    Code.INVALID_REQUEST,
                    f"{name} is {value}",
                    expected="a number above 0",
                    found=str(value),
                    remedy="state another figure, or leave it out",
                    param=name,
                )
            )
    return options


def framed(
    request_id: str, turns: Sequence[ChatTurn], options: ChatOptions, prompt: str | None = None
) -> Generate:
    """A request as a worker is told it.

    Raises:
        EngineError: ``invalid_request``; ``param`` names the field.
    """
    try:
        for text in (*(turn.content for turn in turns), prompt or ""):
            text.encode()
        return Generate(
            id=request_id,
            messages=tuple(Message.model_validate(turn, from_attributes=True) for turn in turns),
            prompt=prompt,
            sampling=Sampling.model_validate(options, from_attributes=True),
            tools=tuple(dict(tool) for tool in options.tools),
            opening=options.opening,
            template_options=dict(options.template_options),
            logprobs=options.logprobs,
            json_schema=options.json_schema,
        )
    except UnicodeEncodeError as error:
        raise EngineError(_invalid("messages", "text", str(error.reason))) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "messages"
        raise EngineError(_invalid(field, first["msg"], repr(first.get("input")))) from error


def _invalid(field: str, expected: str, found: str) -> Decision:
    return refuse(
        Code.INVALID_REQUEST,
        f"{field} cannot be used: {expected}",
        expected=expected,
        found=found[:200],
        remedy=f"mend {field}",
        param=field,
    )


def too_large(why: str) -> Decision:
    """What a request is told that is longer than a worker can be sent."""
    return refuse(
        Code.PAYLOAD_TOO_LARGE,
        f"the request is too long: {why}",
        expected="a request under the limit",
        found=why,
        remedy="shorten the conversation",
        param="messages",
    )

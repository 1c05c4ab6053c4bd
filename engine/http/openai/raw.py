"""A chat as the engine itself tells it, for a console in another process: ``X-LMX-Raw: 1``.

The chunks are those of any stream, and carry under ``lmx`` what OpenAI's words have no place for:
the model's raw text, thinking and calls included, tokens, and the figures of the end.
"""

from dataclasses import asdict
from typing import Any

from starlette.datastructures import Headers

from engine.errors import Decision
from engine.face import ChatDelta, ChatEnd
from engine.http.house import House
from engine.http.keys import same
from engine.http.openai.choice import Choice
from engine.http.openai.feed import Feed
from engine.http.openai.reply import DONE, event
from engine.http.refusal import error_body


def wanted(headers: Headers) -> bool:
    """Whether a client asks for it."""
    return headers.get("x-lmx-raw", "") == "1"


def trusted(house: House, headers: Headers) -> bool:
    """Whether an operator asks, who repeats by hand what a model died of and means to."""
    key = house.keys.admin
    if not wanted(headers):
        return False
    return house.address.loopback if key is None else same(headers.get("x-admin-key"), key)


class RawChunks:
    """A :class:`Teller` of what the engine says."""

    def __init__(self, feed: Feed, identity: dict[str, Any]) -> None:
        self._feed = feed
        self._chunk = {**identity, "object": "chat.completion.chunk", "choices": []}

    def open(self) -> bytes:
        """Who answers, before the first word: a long prompt's progress is told elsewhere by id."""
        stream = self._feed.choices[0].stream
        self._chunk["model"] = stream.model_id
        return self._tell({"request_id": stream.request_id, "model_id": stream.model_id})

    def hear(self, choice: Choice, said: ChatDelta | ChatEnd) -> bytes:
        choice.hear(said)
        if isinstance(said, ChatEnd):
            return self._tell({"end": asdict(said)})
        return self._tell({"delta": asdict(said), "thinking": choice.stream.thinking})

    def fail(self, decision: Decision) -> bytes:
        return event(error_body(decision))

    def close(self) -> bytes:
        return DONE

    def _tell(self, told: dict[str, Any]) -> bytes:
        return event(self._chunk | {"lmx": told})

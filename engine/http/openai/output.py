"""A response being written: items of output, and the event each change of them is told by."""

import time
import uuid
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from engine.dialect import CallArguments, CallBegun, Piece, Thought, Words
from engine.errors import Decision
from engine.http.openai.bodies import ResponsesBody
from engine.http.openai.choice import Choice, usage

Event = dict[str, Any]
_ENDINGS = {"message": "output_text", "reasoning": "reasoning_text"}


class Output:
    """The output of one response, in OpenAI's words. Every method returns the events to send."""

    def __init__(self, body: ResponsesBody) -> None:
        self._body = body
        self._items: list[dict[str, Any]] = []
        self._open = False
        """Whether the last item still grows."""
        self._number = -1
        self._model = body.model
        self._identity = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
        }

    def begin(self, model_id: str) -> list[Event]:
        """The response exists."""
        self._model = model_id
        response = self.response("in_progress")
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]

    def add(self, pieces: Sequence[Piece]) -> list[Event]:
        """New pieces of the answer."""
        events: list[Event] = []
        for piece in pieces:
            match piece:
                case Words():
                    events += self._grow("message", piece.text)
                case Thought():
                    events += self._grow("reasoning", piece.text)
                case CallBegun():
                    events += self._close()
                    item = {"call_id": piece.id, "name": piece.name, "arguments": ""}
                    events += self._add_item("function_call", "fc", item)
                case CallArguments():
                    self._items[-1]["arguments"] += piece.delta
                    kind = "response.function_call_arguments.delta"
                    events.append(self._event(kind, **self._place(), delta=piece.delta))
        return events

    def finish(self, choice: Choice) -> list[Event]:
        """The answer is whole, or was cut by its limit."""
        events = self._close()
        cut = choice.finish_reason == "length"
        status = "incomplete" if cut else "completed"
        response = self.response(status, choice)
        return [*events, self._event(f"response.{status}", response=response)]

    def fail(self, decision: Decision, error: dict[str, Any]) -> Event:
        """The one event that ends a response that failed."""
        return self._event(
            "error",
            code=decision.code.value,
            message=decision.message,
            param=decision.param,
            **error,
        )

    def response(self, status: str, choice: Choice | None = None) -> dict[str, Any]:
        """The response as it stands."""
        body = self._body
        figures = usage([choice]) if choice is not None else None
        return {
            **self._identity,
            "status": status,
            "model": self._model,
            "output": list(self._items),
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"}
            if status == "incomplete"
            else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "text": {"format": {"type": "text"}}
            if body.text is None
            else body.text.model_dump(by_alias=True, exclude_none=True),
            "tool_choice": (body.tool_choice or "auto")
            if isinstance(body.tool_choice, str | None)
            else body.tool_choice.model_dump(),
            "tools": [tool.model_dump(exclude_none=True) for tool in body.tools or ()],
            "usage": None if figures is None else _usage(figures),
        }

    # -- items ----------------------------------------------------------------------------------

    def _grow(self, kind: str, text: str) -> list[Event]:
        """Words of a message or of thinking; another kind of item ends there."""
        events: list[Event] = []
        if not self._open or self._items[-1]["type"] != kind:
            events += self._close()
            events += self._begin_text(kind)
        part = self._items[-1]["content"][0]
        part["text"] += text
        name = f"response.{_ENDINGS[kind]}.delta"
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        events.append(self._event(name, **self._place(content=True), delta=text, **more))
        return events

    def _begin_text(self, kind: str) -> list[Event]:
        part: dict[str, Any] = {"type": _ENDINGS[kind], "text": ""}
        if kind == "message":
            part["annotations"] = []
            events = self._add_item(kind, "msg", {"role": "assistant", "content": []})
        else:
            events = self._add_item(kind, "rs", {"summary": [], "content": []})
        self._items[-1]["content"].append(part)
        place = self._place(content=True)
        events.append(self._event("response.content_part.added", **place, part=part))
        return events

    def _add_item(self, kind: str, prefix: str, fields: dict[str, Any]) -> list[Event]:
        item = {"id": f"{prefix}_{uuid.uuid4().hex}", "type": kind, "status": "in_progress"}
        self._items.append(item | fields)
        self._open = True
        place = {"output_index": len(self._items) - 1}
        return [self._event("response.output_item.added", **place, item=item | fields)]

    def _close(self) -> list[Event]:
        if not self._open:
            return []
        self._open = False
        item = self._items[-1]
        item["status"] = "completed"
        events: list[Event] = []
        if item["type"] == "function_call":
            kind = "response.function_call_arguments.done"
            told = {"arguments": item["arguments"], "name": item["name"]}
            events.append(self._event(kind, **self._place(), **told))
        else:
            part, place = item["content"][0], self._place(content=True)
            done = f"response.{_ENDINGS[item['type']]}.done"
            more: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
            events.append(self._event(done, **place, text=part["text"], **more))
            events.append(self._event("response.content_part.done", **place, part=part))
        place = {"output_index": len(self._items) - 1}
        events.append(self._event("response.output_item.done", **place, item=item))
        return events

    def _place(self, *, content: bool = False) -> dict[str, Any]:
        place = {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}
        return place | ({"content_index": 0} if content else {})

    def _event(self, kind: str, **fields: Any) -> Event:
        self._number += 1
        # As it stands now: the items go on growing before the event is written.
        return {"type": kind, "sequence_number": self._number, **deepcopy(fields)}


def _usage(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": figures["prompt_tokens"],
        "input_tokens_details": figures["prompt_tokens_details"],
        "output_tokens": figures["completion_tokens"],
        "output_tokens_details": figures["completion_tokens_details"],
        "total_tokens": figures["total_tokens"],
    }

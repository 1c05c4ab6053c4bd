"""Responses, legacy completions and the list of models, as the ``openai`` client sees them."""

import json
from collections.abc import Callable

import openai
import pytest

from tests.end_to_end.conftest import ACTOR
from tests.engine.http.conftest import OpenApi
from tests.engine.http.openai.conftest import Connect

Simulate = Callable[..., str]
HERMES = 'Let me look.\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


async def test_a_response_is_whole_and_so_is_its_stream(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("good", say=["<think>", "hm", "</think>", "yes", "."])
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    asked = {"model": model, "input": "hello", "instructions": "be brief"}
    response = await client.responses.create(**asked, max_output_tokens=5)
    assert response.output_text == "yes."
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.status == "incomplete"
    assert response.usage.output_tokens == 5
    events = [
        event
        async for event in await client.responses.create(**asked, max_output_tokens=5, stream=True)
    ]
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.incomplete"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "yes."
    added = [e.item for e in events if e.type == "response.output_item.added"]
    assert [item.content for item in added] == [[], []]
    done = [e.item.content[0].text for e in events if e.type == "response.output_item.done"]
    assert done == ["hm", "yes."]
    assert kinds.count("response.output_item.done") == 2


async def test_a_response_may_call_a_function(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    say = [HERMES[start : start + 5] for start in range(0, len(HERMES), 5)]
    model = simulate("caller", say=say, tool_format="json_tools")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    asked = {"model": model, "tools": [TOOL]}
    stream = await client.responses.create(**asked, input="go", stream=True)
    events = [event async for event in stream]
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert json.loads("".join(deltas)) == {"x": 1}
    call = next(item for item in events[-1].response.output if item.type == "function_call")
    assert call.name == "f"
    later = [
        {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "function_call", "call_id": call.call_id, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": call.call_id, "output": "done"},
    ]
    response = await client.responses.create(**asked, input=later)
    assert response.id


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "computer_call"}]}, "input[0]"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
async def test_what_a_response_cannot_be_is_named(
    open_api: OpenApi, simulate: Simulate, fields: dict[str, object], param: str
) -> None:
    model = simulate("good")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    answer = await api.post("/v1/responses", {"model": model, "input": "x", **fields})
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.json()["error"]["param"] == param


async def test_plain_texts_are_continued(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("good", say=["a", "b"])
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    answer = await client.completions.create(
        model=model, prompt=["one", "two"], n=2, max_tokens=2, echo=True, logprobs=2
    )
    assert [choice.text for choice in answer.choices] == ["oneab", "oneab", "twoab", "twoab"]
    told = answer.choices[0].logprobs
    assert told.tokens == ["a", "b"]
    assert told.text_offset == [3, 4]
    assert answer.usage.prompt_tokens == 2
    stream = await client.completions.create(model=model, prompt="x", max_tokens=3, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "aba"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.completions.create(model=model, prompt=[1, 2, 3])
    assert refused.value.code == "invalid_request"


async def test_models_are_listed_with_their_readiness(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    good = simulate("good")
    simulate("idle")
    api = await open_api()
    await api.engine.load(good, actor=ACTOR, wait=True)
    client = connect(api)
    assert [model.id async for model in await client.models.list()] == [good]
    model = await client.models.retrieve(good)
    assert model.readiness["state"] == "routable"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("org/nobody")
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model=good, input="x")

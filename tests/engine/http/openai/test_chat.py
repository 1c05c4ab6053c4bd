"""Chat completions, as the ``openai`` client sees them."""

import asyncio
import json
import os
import signal
from collections.abc import Callable

import openai
import pytest

from tests.end_to_end.conftest import ACTOR, until
from tests.engine.http.conftest import OpenApi
from tests.engine.http.openai.conftest import Connect

Simulate = Callable[..., str]
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
MINIMAX = (
    "<think>\nIt wants the weather.\n</think>\n\n<minimax:tool_call>\n"
    '<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>'
)


async def test_an_answer_comes_whole_with_its_figures(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("good", say=["It", " works", "."])
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    answer = await connect(api).chat.completions.create(model=model, messages=HELLO, max_tokens=6)
    (choice,) = answer.choices
    assert choice.message.content == "It works.It works."
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "length"
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6


async def test_a_stream_says_the_same_in_pieces(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("good", say=["It", " works", "."])
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    stream = await connect(api).chat.completions.create(
        model=model,
        messages=HELLO,
        max_tokens=6,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == "It works.It works."
    assert told[0].delta.role == "assistant"
    assert told[-1].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6
    assert len({chunk.id for chunk in chunks}) == 1


async def test_several_choices_are_told_apart(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("good", say=["a", "b"])
    api = await open_api(slots=2)
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    answer = await client.chat.completions.create(
        model=model, messages=HELLO, n=3, max_tokens=4, stop=["ba"]
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"a"}
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    stream = await client.chat.completions.create(
        model=model, messages=HELLO, n=3, max_tokens=4, stream=True
    )
    texts = {0: "", 1: "", 2: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {"abab"}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_call_is_told_as_one(
    open_api: OpenApi, simulate: Simulate, connect: Connect, streamed: bool
) -> None:
    say = [MINIMAX[start : start + 7] for start in range(0, len(MINIMAX), 7)]
    model = simulate("caller", say=say, tool_format="minimax_m2")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    asked = {"model": model, "messages": HELLO, "tools": [WEATHER]}
    if streamed:
        name = arguments = thought = content = ""
        async for chunk in await client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                content += choice.delta.content or ""
                thought += getattr(choice.delta, "reasoning_content", None) or ""
                for call in choice.delta.tool_calls or ():
                    name += call.function.name or ""
                    arguments += call.function.arguments or ""
    else:
        answer = await client.chat.completions.create(**asked)
        message = answer.choices[0].message
        content, thought = message.content or "", message.reasoning_content
        (call,) = message.tool_calls
        name, arguments = call.function.name, call.function.arguments
    assert name == "get_weather"
    assert json.loads(arguments) == {"city": "Paris", "days": 3}
    assert content == ""
    assert thought.strip() == "It wants the weather."


async def test_one_call_is_one_call(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
    model = simulate("eager", say=[call, call, " and on"], tool_format="json_tools")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    asked = {"model": model, "messages": HELLO, "tools": [WEATHER]}
    both = await client.chat.completions.create(**asked)
    assert len({call.id for call in both.choices[0].message.tool_calls}) == 2
    one = await client.chat.completions.create(**asked, parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls) == 1
    assert one.choices[0].finish_reason == "tool_calls"
    free = await client.chat.completions.create(**asked | {"tool_choice": "none"})
    assert free.choices[0].message.content == call + call + " and on"
    # It was given the first words of its call, and writes them all over again.
    forced = await client.chat.completions.create(**asked | {"tool_choice": "required"})
    assert len(forced.choices[0].message.tool_calls) == 2
    assert "<tool_call>" not in (forced.choices[0].message.content or "")


async def test_refusals_are_the_clients_own_exceptions(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("idle")
    broken = simulate("broken", faults=[{"when": "canary", "do": "nan"}])
    api = await open_api()
    client = connect(api)
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nobody", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.ConflictError) as resting:
        await client.chat.completions.create(model=model, messages=HELLO)
    assert resting.value.code == "model_not_ready"
    with pytest.raises(Exception, match="prove itself"):
        await api.engine.load(broken, actor=ACTOR, wait=True)
    with pytest.raises(openai.ConflictError) as unstable:
        await client.chat.completions.create(model=broken, messages=HELLO, stream=True)
    assert unstable.value.code == "model_unstable"
    with pytest.raises(openai.ConflictError) as unlisted:
        await client.models.retrieve(model)
    assert unlisted.value.code == "model_not_ready"
    assert [m.id async for m in await client.models.list()] == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_prompt_too_long_is_a_400_with_the_numbers(
    open_api: OpenApi, simulate: Simulate, connect: Connect, streamed: bool
) -> None:
    model = simulate("small", context=64)
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    with pytest.raises(openai.BadRequestError) as refused:
        await connect(api).chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "word " * 200}],
            stream=streamed,
        )
    assert refused.value.code == "context_length_exceeded"
    assert "64" in refused.value.message
    assert "20" in refused.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"n": 0}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "banana"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": []}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
        ),
        ({"logit_bias": {"1": 300}}, "logit_bias.1"),
    ],
)
async def test_a_field_that_cannot_be_honoured_is_named(
    open_api: OpenApi, simulate: Simulate, fields: dict[str, object], param: str
) -> None:
    model = simulate("good")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    body = {"model": model, "messages": HELLO, "unknown_field": 1, **fields}
    answer = await api.post("/v1/chat/completions", body)
    assert answer.status == 400, answer.body
    assert answer.json()["error"]["param"] == param


async def test_a_lane_nobody_knows_is_a_header_error(open_api: OpenApi, simulate: Simulate) -> None:
    model = simulate("good")
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    body = {"model": model, "messages": HELLO, "max_tokens": 2}
    answer = await api.ask(
        "POST", "/v1/chat/completions", body, headers={"X-Serving-Lane": "express"}
    )
    assert (answer.status, answer.code) == (400, "invalid_header")
    assert answer.json()["error"]["param"] == "X-Serving-Lane"
    named = {"X-Client-ID": "desk", "x-openclaw-agent-id": "claw", "X-Serving-Lane": "throughput"}
    answer = await api.ask("POST", "/v1/chat/completions", body | {"user": "u"}, headers=named)
    assert answer.status == 200
    assert [client.name for client in api.engine.snapshot().clients] == ["desk"]


async def test_a_death_ends_the_stream_with_one_error_and_no_done(
    open_api: OpenApi, simulate: Simulate
) -> None:
    model = simulate("frail", tokens_per_second=50)
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    reader, writer = await api.connect()
    body = json.dumps({"model": model, "messages": HELLO, "stream": True}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await reader.readuntil(b'"content":"It"')
    view = api.engine.snapshot().model(model)
    assert view is not None
    assert view.pid is not None
    os.kill(view.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        rest = (await reader.read()).decode()
    writer.close()
    assert rest.count('"error"') == 1
    assert "model_unstable" in rest
    assert "[DONE]" not in rest


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_away_frees_its_slot(
    open_api: OpenApi, simulate: Simulate, streamed: bool
) -> None:
    model = simulate("slow", tokens_per_second=20)
    api = await open_api()
    await api.engine.load(model, actor=ACTOR, wait=True)
    _, writer = await api.connect()
    body = json.dumps({"model": model, "messages": HELLO, "stream": streamed}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await until(api.engine, lambda s: any(r.phase == "decode" for r in s.requests))
    writer.transport.abort()
    await until(api.engine, lambda s: not s.requests)
    assert api.engine.snapshot().clients[0].failed == 0


async def test_a_client_that_does_not_read_holds_nobody_up(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("wordy", say=["x" * 4000, "y" * 4000], tokens_per_second=5000)
    api = await open_api(slots=1)
    await api.engine.load(model, actor=ACTOR, wait=True)
    _, writer = await api.connect()
    asked = {"model": model, "messages": HELLO, "stream": True, "max_tokens": 1500}
    body = json.dumps(asked).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await until(api.engine, lambda s: any(r.phase == "decode" for r in s.requests))
    answer = await connect(api).chat.completions.create(model=model, messages=HELLO, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    await until(api.engine, lambda s: not s.requests)
    writer.transport.abort()


async def test_the_first_request_may_load_the_model(
    open_api: OpenApi, simulate: Simulate, connect: Connect
) -> None:
    model = simulate("lazy", load_seconds=0.3)
    api = await open_api(autoload=True)
    client = connect(api)
    answers = await asyncio.gather(
        *(
            client.chat.completions.create(model=model, messages=HELLO, max_tokens=2)
            for _ in range(3)
        )
    )
    assert {answer.choices[0].message.content for answer in answers} == {"It works"}


async def test_two_hundred_connections_lose_nothing(open_api: OpenApi, simulate: Simulate) -> None:
    model = simulate("busy", tokens_per_second=2000)
    api = await open_api(slots=32, queue=400)
    await api.engine.load(model, actor=ACTOR, wait=True)
    body = {"model": model, "messages": HELLO, "max_tokens": 9, "stream": True}
    answers = await asyncio.gather(
        *(api.ask("POST", "/v1/chat/completions", body) for _ in range(200))
    )
    assert [answer.status for answer in answers] == [200] * 200
    assert all(
        answer.body.endswith(b"[DONE]\n\n") or b"[DONE]" in answer.body for answer in answers
    )

"""The bundled model through the API, as the ``openai`` client sees it, in both real backends."""

import json

import openai
import pytest

from tests.end_to_end.conftest import ACTOR, Opener
from tests.end_to_end.test_real_models import GGUF, MLX
from tests.engine.http.conftest import OpenApi, open_api  # noqa: F401 - fixtures
from tests.engine.http.openai.conftest import Connect, connect  # noqa: F401

CAPITAL = [{"role": "user", "content": "Name the capital city of France."}]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
    "additionalProperties": False,
}


@pytest.mark.real
@pytest.mark.parametrize("model", [GGUF, MLX])
async def test_the_starter_answers_the_openai_client(
    model: str,
    open_api: OpenApi,  # noqa: F811
    connect: Connect,  # noqa: F811
    open_engine: Opener,
) -> None:
    api = await open_api(starter=True)
    await api.engine.load(model, actor=ACTOR, wait=True)
    client = connect(api)
    greedy = {"model": model, "messages": CAPITAL, "temperature": 0, "max_tokens": 9}

    answer = await client.chat.completions.create(**greedy, logprobs=True, top_logprobs=2)
    (choice,) = answer.choices
    assert "Paris" in choice.message.content
    told = choice.logprobs.content
    assert len(told) == answer.usage.completion_tokens
    for token in told:
        likeliest = token.top_logprobs[0]
        assert token.token == likeliest.token
        assert token.logprob == pytest.approx(likeliest.logprob, abs=1e-3)
        assert bytes(token.bytes).decode("utf-8", "replace") == token.token
    assert "Paris" in "".join(token.token for token in told)

    text = ""
    async for chunk in await client.chat.completions.create(**greedy, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text == choice.message.content

    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    held = await client.chat.completions.create(
        **greedy | {"max_tokens": 60}, response_format=wanted
    )
    found = json.loads(held.choices[0].message.content)
    assert set(found) == {"city", "big"}
    assert held.choices[0].finish_reason == "stop"

    response = await client.responses.create(
        model=model, input="Name the capital city of France.", temperature=0, max_output_tokens=9
    )
    assert "Paris" in response.output_text

    plain = await client.completions.create(
        model=model, prompt="The capital of France is", temperature=0, max_tokens=3
    )
    assert plain.choices[0].text

    with pytest.raises(openai.BadRequestError) as long:
        await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "word " * 9000}]
        )
    assert long.value.code == "context_length_exceeded"

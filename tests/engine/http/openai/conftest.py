"""The real ``openai`` client, pointed at the API with only its base URL changed."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

from tests.end_to_end.conftest import home, open_engine, simulate  # noqa: F401 - fixtures
from tests.engine.http.conftest import (  # noqa: F401 - fixtures
    Api,
    OpenApi,
    open_api,
)

Connect = Callable[[Api], Any]
"""Untyped: the client's overloads tell OpenAI's own models and parameters apart, not ours."""


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make clients; closed at the end."""
    made: list[openai.AsyncOpenAI] = []

    def make(api: Api) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{api.port}/v1", api_key="none", max_retries=0
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()

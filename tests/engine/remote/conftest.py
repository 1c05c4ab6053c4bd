"""The face of an engine in another process, over a real API on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from engine.remote.face import RemoteEngine
from engine.remote.link import Link
from tests.end_to_end.conftest import home, open_engine, simulate  # noqa: F401 - fixtures
from tests.engine.http.conftest import Api, open_api  # noqa: F401 - fixtures

Attach = Callable[..., Awaitable[RemoteEngine]]


@pytest.fixture
async def attach() -> AsyncIterator[Attach]:
    """Attach to an API; every face is let go of at the end."""
    faces: list[RemoteEngine] = []

    async def to(api: Api | int, *, actor: str = "ops@10.0.0.7", **options: Any) -> RemoteEngine:
        port = api if isinstance(api, int) else api.port
        keys = options.pop("key", ""), options.pop("api_key", "")
        link = Link(f"http://127.0.0.1:{port}", keys[0], actor, keys[1])
        face = RemoteEngine(link, version="1", **options)
        faces.append(face)
        await face.start()
        return face

    yield to
    for face in faces:
        await face.stop()

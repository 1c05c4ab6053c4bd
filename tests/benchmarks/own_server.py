"""Our own server as its users run it, ``lmx serve`` in a process of its own, for a comparison.

The client that measures then shares no interpreter with what is measured, on either side.
"""

import asyncio
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.peer import Peer, free_port

_PATIENCE_S = 600.0
"""The MLX starter is built and proved first, which takes a minute on a busy machine."""


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Our server, with one model routable."""

    peer: Peer
    model: str
    path: Path
    """The model's file or folder: what a peer is to load."""

    @property
    def port(self) -> int:
        """Where it answers."""
        return self.peer.port


@asynccontextmanager
async def serving(model: str, **settings: Any) -> AsyncIterator[OwnServer]:
    """A server that knows the starter models and nothing else, on a home of its own, one of them
    loaded.

    Args:
        model: The one.
        settings: As in :class:`engine.Settings`.
    """
    with tempfile.TemporaryDirectory(prefix="lmx-benchmark-") as place:
        told = {f"LMX_{name.upper()}": str(value) for name, value in settings.items()}
        environment = os.environ | told | {
            "LMX_HOME": str(Path(place, "home")),
            "LMX_LMSTUDIO": str(Path(place, "none")),
            "LMX_STARTER": "true",
            "HF_HUB_CACHE": str(Path(place, "none")),
        }  # fmt: skip
        port = free_port()
        command = [sys.executable, "-m", "console", "serve", "--api", f"127.0.0.1:{port}"]
        peer = await Peer.start(command, port, "/livez", environment)
        try:
            path = await asyncio.to_thread(_load, port, model)
            yield OwnServer(peer, model, path)
        finally:
            peer.stop()


def _load(port: int, model: str) -> Path:
    """Load it until it is routable; returns where it lies."""
    _ask(port, "/admin/models/load", {"model_id": model, "wait": True})
    shown = _ask(port, "/admin/models")["loaded"]
    return next(Path(one["path"]) for one in shown if one["id"] == model)


def _ask(port: int, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310
        told: dict[str, Any] = json.loads(answer.read())
        return told

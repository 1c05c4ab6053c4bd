"""The gate, ready to be asked about a path."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.admission.facts import Facts
from engine.admission.gate import explain
from engine.catalog.scan import resolve_path
from engine.face import LoadOptions
from engine.types import Explanation
from tests.engine.admission.models import GGUF_VERSION, MLX_VERSION, Ask


@pytest.fixture
def ask() -> Ask:
    """Ask the gate about a path. Keywords are fields of Facts; ``options`` and ``release`` pass."""

    def asked(
        path: Path,
        options: LoadOptions | None = None,
        release: bool = False,
        **facts: object,
    ) -> Explanation:
        entry = resolve_path(path)
        version = GGUF_VERSION if entry.backend == "gguf" else MLX_VERSION
        base = Facts(
            backend_version=version,
            supports=lambda _: True,
            ggml_types=43,
            budget=10**12,
        )
        return explain(entry, replace(base, **facts), options, release=release)  # type: ignore[arg-type]

    return asked

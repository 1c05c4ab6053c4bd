"""A GPU that may hold less than the budget: its limit bounds the loads of MLX, and only those."""

import json
from pathlib import Path

import pytest

from engine import Code, EngineError
from engine.admission.questions import questions
from engine.catalog.starter import starter_entries, starter_file
from engine.settings import load_settings
from engine.types import Backend
from engine.workers.capability import Capabilities
from tests.end_to_end.conftest import ACTOR, Opener


async def test_a_load_is_refused_by_what_the_device_said(
    open_engine: Opener, home: Path, tmp_path: Path
) -> None:
    source = starter_file()
    if source is None:
        pytest.skip("the starter's package is not installed")
    entries = starter_entries(load_settings(), source)
    (mlx,) = (entry for entry in entries if entry.backend is Backend.MLX)
    engine = await open_engine(starter=True, memory_gb=100)
    version = next(r.version for r in engine.snapshot().runtimes if r.backend is Backend.MLX)
    await engine.stop()
    said = {"version": version, "error": "", "supports": dict.fromkeys(questions(mlx), True)}
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(said | {'working_set': 10_000_000})}'\n")
    python.chmod(0o755)
    Capabilities(home).ask(Backend.MLX, python, questions(mlx))
    again = await open_engine(starter=True, memory_gb=100)
    with pytest.raises(EngineError) as refused:
        await again.load(mlx.id, actor=ACTOR)
    assert refused.value.decision.code is Code.INSUFFICIENT_MEMORY
    assert "device's working set of 10 MB" in refused.value.decision.expected
    (gguf,) = (entry for entry in entries if entry.backend is Backend.GGUF)
    assert (await again.explain(gguf.id)).admitted

"""``--cluster`` where there is none to join."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from console.cli import main


def test_without_ray_one_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    real = importlib.util.find_spec

    def without_ray(name: str, *rest: Any) -> Any:
        return None if name == "ray" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_ray)
    assert main(["serve", "--cluster", "auto"]) == 2
    said = capsys.readouterr().err
    assert "[cluster]" in said
    assert said.count("\n") == 1

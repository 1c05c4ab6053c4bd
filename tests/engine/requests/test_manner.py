"""Where a request is silent the model's settings speak; where it is not, they never do."""

from pathlib import Path
from typing import Any

import pytest

from engine.face import ChatOptions
from engine.requests.manner import with_defaults
from engine.settings import SamplingSettings, SettingsError, load_settings
from engine.workers.protocol import Sampling


def test_only_what_was_not_stated_is_taken_from_the_settings() -> None:
    asked = ChatOptions(temperature=0.7, top_p=1.0, stop=("x",))
    own = {"temperature": 0.2, "top_p": 0.9, "top_k": 40}
    answer = with_defaults(asked, frozenset({"temperature", "stop"}), own)
    assert answer == ChatOptions(temperature=0.7, top_p=0.9, top_k=40, stop=("x",))
    assert with_defaults(asked, frozenset(), {}) == asked


def _bounds(model: type[SamplingSettings | Sampling], name: str) -> dict[str, Any]:
    schema = model.model_json_schema()["properties"][name]
    schema = next((s for s in schema.get("anyOf", []) if s["type"] != "null"), schema)
    return {key: value for key, value in schema.items() if key not in ("default", "title")}


@pytest.mark.parametrize("name", SamplingSettings.model_fields)
def test_the_settings_take_what_a_worker_takes(name: str) -> None:
    assert hasattr(ChatOptions(), name)
    assert _bounds(SamplingSettings, name) == _bounds(Sampling, name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sampling = { temprature = 0.2 }", "unknown setting model.org/name.sampling.temprature"),
        ("sampling = { top_p = 1.5 }", "setting model.org/name.sampling.top_p"),
        ("sampling = { top_k = 1.5 }", "setting model.org/name.sampling.top_k"),
    ],
)
def test_a_name_or_figure_that_does_not_fit_is_told_at_the_start(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text(f'[model."org/name"]\n{line}\n')
    with pytest.raises(SettingsError, match=words):
        load_settings()

"""Settings as people type them: by environment, by file, and wrongly."""

from pathlib import Path

import pytest

from engine.home.place import default_home
from engine.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    return tmp_path


def test_an_empty_home_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMX_HOME", "")
    assert load_settings().home == Path.home() / ".opta-lmx" == default_home()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/data", (Path("/data"),)),
        ("/data:/more", (Path("/data"), Path("/more"))),
        ('["/data", "/a b"]', (Path("/data"), Path("/a b"))),
        ("", ()),
    ],
)
def test_folders_are_listed_as_people_do(
    text: str, found: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMX_FOLDERS", text)
    assert load_settings().folders == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foldrs = []", "unknown setting foldrs"),
        ("slots = 'x'\nthreads = 0", "setting threads"),
        ("slots = ", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence(text: str, words: str, own_home: Path) -> None:
    (own_home / "config.toml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_settings()


def test_a_mistake_in_the_environment_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMX_RUNTIMES", "{")
    with pytest.raises(SettingsError, match="JSON"):
        load_settings()


def test_a_models_own_settings(own_home: Path) -> None:
    (own_home / "config.toml").write_text('[model."org/name"]\ncontext = 32768\npin = true\n')
    model = load_settings().model["org/name"]
    assert (model.context, model.pin) == (32768, True)

"""The demo's script as data: what a presenter relies on before a single beat is played."""

import json
from pathlib import Path

import pytest

from console.demo import props
from console.demo.beat import Beat
from console.demo.script import SCRIPT
from console.demo.stage import Stage
from console.status import Glyphs
from console.widgets.caption import ROWS, caption_lines


def test_every_beat_has_a_name_of_its_own() -> None:
    names = [beat.name for beat in SCRIPT]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() for name in names)


@pytest.mark.parametrize("beat", SCRIPT, ids=lambda beat: beat.name)
def test_no_word_of_a_caption_is_cut_at_80_columns(beat: Beat) -> None:
    keys = "space pause  n next  any key takes over"
    lines = caption_lines(beat.scene, "34/34", beat.caption, keys, 80, Glyphs(False))
    texts = ["".join(cell.text for cell in line) for line in lines]
    assert len(texts) == ROWS
    assert all(len(text) <= 80 for text in texts)
    assert keys in texts[0]
    assert " ".join(" ".join(texts[1:]).split()) == " ".join(beat.caption.split())


def test_a_caption_in_ascii_is_ascii() -> None:
    lines = caption_lines("Scène", "1/2", "naïve · café", "n", 80, Glyphs(True))
    assert "".join(cell.text for line in lines[1:] for cell in line).isascii()


def test_the_stage_takes_no_room_and_is_gone_afterwards(tmp_path: Path) -> None:
    with Stage(below=tmp_path) as stage:
        files = [path for path in stage.folder.rglob("*") if path.is_file()]
        assert sum(path.stat().st_blocks * 512 for path in files) < 1_000_000
        assert sum(path.stat().st_size for path in files) > 10**9
    assert list(tmp_path.iterdir()) == []


def test_the_stage_listens_to_no_setting_of_the_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMX_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("LMX_ON_EVENT", "touch /nowhere")
    monkeypatch.setenv("LMX_CONTEXT", "77")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.toml").write_text("slots = 9\n")
    with Stage(below=tmp_path) as stage:
        settings = stage.settings()
        assert stage.folder in settings.home.parents
        assert settings.on_event is None
        assert (settings.context, settings.slots) == (4096, 4)


def test_an_upgrade_changes_the_version_alone(tmp_path: Path) -> None:
    with Stage(below=tmp_path) as stage:
        path = stage.folder / "models" / props.NONSENSE / "simulated.json"
        before = json.loads(path.read_text())
        stage.upgrade()
        after = json.loads(path.read_text())
    assert before | {"backend_version": props.AFTER} == after

"""Every state has a glyph of one column, a word and a colour; no two states share glyph or word."""

from rich.cells import cell_len

from console.status import SHORT_CODES, SIGNS, STEP_SIGNS, Glyphs, sign_of, state_text
from console.widgets.lines import STYLES
from engine import Code, Readiness, StepResult
from tests.console import gallery
from tests.console.scripted import T0


def test_every_state_and_step_has_a_sign() -> None:
    assert {str(state) for state in Readiness} <= set(SIGNS)
    assert set(StepResult) == set(STEP_SIGNS)


def test_glyphs_are_one_column_wide_and_told_apart() -> None:
    for signs in (list(SIGNS.values()), list(STEP_SIGNS.values())):
        for sign in signs:
            assert cell_len(sign.glyph) == cell_len(sign.ascii) == 1
            assert sign.ascii.isascii()
            assert sign.style in STYLES
        for name in ("glyph", "ascii", "word"):
            shown = [getattr(sign, name) for sign in signs]
            assert len(set(shown)) == len(shown)


def test_strikes() -> None:
    assert Glyphs().strikes(1, 3) == "●○○"
    assert Glyphs(ascii_only=True).strikes(3, 3) == "xxx"
    assert Glyphs().strikes(9, 3) == "●●●"


def test_a_row_says_refused_draining_and_back_off() -> None:
    assert state_text(gallery.refused(), T0) == "refused: incomplete"
    assert sign_of(gallery.routable(draining=True)).word == "draining"
    waiting = gallery.loading(retry_at=T0 + 3.4)
    assert state_text(waiting, T0) == "back-off 3 s"
    assert state_text(gallery.loading(), T0) == "loading 42 %"
    assert state_text(gallery.loading(progress=None, stage="building"), T0) == "building"
    assert state_text(gallery.proving(), T0) == "canary_pending 5/9"


def test_every_refusal_fits_the_state_column() -> None:
    for code in Code:
        assert len(f"refused: {SHORT_CODES.get(code, '')}") <= 24

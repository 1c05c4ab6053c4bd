"""What the details say of a model."""

from dataclasses import replace

from console.dossier import Papers, dossier_of
from console.status import Glyphs
from engine import MemoryView, ModelView
from tests.console import gallery
from tests.console.scripted import T0


def words(model: ModelView) -> str:
    told = dossier_of(
        model,
        Papers(),
        MemoryView(budget=10**9, reserved=0, measured=0, available=10**9),
        78,
        T0,
        Glyphs(),
    )
    return "\n".join("".join(cell.text for cell in line) for line in told.lines)


def test_only_a_model_held_by_several_processes_says_so() -> None:
    model = gallery.routable()
    assert "split" not in words(model)
    assert "among 3 processes" in words(replace(model, ranks=3))

"""The size of the next prefill chunk follows the pace that was measured."""

from engine.backends.prefill import PrefillPace


def test_it_begins_carefully() -> None:
    assert PrefillPace(512).budget(beside_streams=False) == 64
    assert PrefillPace(512).budget(beside_streams=True) == 16


def test_a_fast_model_takes_the_most() -> None:
    pace = PrefillPace(512)
    pace.measured(64, 0.01)
    assert pace.budget(beside_streams=True) == 512


def test_a_slow_model_takes_little_and_less_beside_streams() -> None:
    pace = PrefillPace(512)
    pace.measured(64, 0.5)
    assert pace.budget(beside_streams=False) == 128
    assert pace.budget(beside_streams=True) == 19
    pace = PrefillPace(512)
    pace.measured(64, 60)
    assert pace.budget(beside_streams=False) == 16


def test_a_chunk_fills_whole_tiles() -> None:
    pace = PrefillPace(512)
    pace.measured(64, 64 / 213)
    assert pace.budget(beside_streams=False) == 192


def test_a_decode_step_teaches_nothing() -> None:
    pace = PrefillPace(512)
    pace.measured(0, 0.01)
    pace.measured(1, 5)
    assert pace.budget(beside_streams=False) == 64

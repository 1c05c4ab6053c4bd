"""The pump hands on what changed, and knows how long the engine has been silent."""

from console.pump import Pump
from engine import EngineSnapshot
from tests.console.scripted import Clock, ScriptedEngine


def test_it_publishes_each_version_once_and_never_while_paused() -> None:
    engine, clock, seen = ScriptedEngine(), Clock(), list[EngineSnapshot]()
    pump = Pump(engine, seen.append, monotonic=clock)
    assert pump.pull()
    assert not pump.pull()
    engine.set(host="b")
    assert pump.pull()
    assert [s.version for s in seen] == [1, 2]
    pump.pause()
    engine.set(host="c")
    assert not pump.pull()
    pump.pause()
    assert [s.host for s in seen] == ["mono512", "b", "c"]


def test_a_silent_engine_grows_stale_and_recovers() -> None:
    engine, clock = ScriptedEngine(), Clock()
    pump = Pump(engine, lambda _: None, hz=50, monotonic=clock)
    assert pump.period_s == 0.2
    pump.pull()
    engine.broken = RuntimeError("gone")
    clock.advance(2.0)
    assert not pump.pull()
    assert pump.error == "RuntimeError: gone"
    assert pump.lateness_s == 1.8
    stale = [pump.stale]
    clock.advance(1.5)
    stale.append(pump.stale)
    assert stale == [False, True]
    engine.broken = None
    pump.pull()
    assert (pump.age_s, pump.error) == (0.0, "")

"""Three strikes, cool-downs, holds and probation, over restarts and jumping clocks."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.errors import Code
from engine.home.statefile import StateFile
from engine.quarantine import Quarantine
from engine.registry import Registry
from engine.settings import Quarantining
from engine.types import Backend, Evidence, Key, Readiness, RegistryRow
from tests.effort import examples

RULES = Quarantining()
KEY = Key("f0", Backend.GGUF, "llama.cpp 0.3.36")
NAME = "org/model"


class Time:
    """A clock the tests turn: ``wall`` may jump, ``ticks`` may not."""

    def __init__(self) -> None:
        self.wall_now, self.ticks_now = 1_790_000_000.0, 50.0

    def wall(self) -> float:
        return self.wall_now

    def ticks(self) -> float:
        return self.ticks_now

    def go(self, seconds: float) -> None:
        self.wall_now += seconds
        self.ticks_now += seconds


def failure(number: int = 0, **changes: object) -> Evidence:
    values: dict[str, object] = {
        "id": f"e{number}",
        "at": 1_790_000_000.0 + number,
        "model_id": NAME,
        "cause": "SIGSEGV",
        "phase": "routable",
    }
    return Evidence(**{**values, **changes})  # type: ignore[arg-type]


class House:
    """A quarantine on its file, with a way to start it again."""

    def __init__(self, path: Path, time: Time | None = None) -> None:
        self.path, self.time = path, time or Time()
        self.open()

    def restart(self) -> None:
        self.quarantine.flush()  # as a life does after every failure; see lives/test_aftermath.py
        self.open()

    def open(self) -> None:
        self.file = StateFile(self.path, self.time.wall)
        self.quarantine = Quarantine(self.file, RULES, self.time.wall, self.time.ticks)

    def code(self, key: Key = KEY) -> Code | None:
        decision = self.quarantine.decision(key, NAME)
        return decision.code if decision else None

    def strike_out(self, key: Key = KEY) -> None:
        while not self.quarantine.strike(key, NAME, failure()):
            pass

    def release(self, key: Key = KEY, *, early: bool = True) -> None:
        assert self.quarantine.release_check(key, NAME, early) is None
        self.quarantine.begin_release(key, NAME)

    def left(self) -> float:
        refusal = self.quarantine.release_check(KEY, NAME, early=False)
        return (refusal.retry_after_s or 0.0) if refusal else 0.0


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "state.json")


def test_the_third_strike_inside_the_window_quarantines_over_a_restart(house: House) -> None:
    quarantine = house.quarantine
    assert [quarantine.strike(KEY, NAME, failure(n)) for n in range(3)] == [False, False, True]
    for _ in range(2):
        decision = house.quarantine.decision(KEY, NAME)
        assert decision is not None
        assert (decision.code, decision.retryable) == (Code.MODEL_UNSTABLE, False)
        assert "crash_loop:3 SIGSEGV" in decision.message
        assert decision.retry_after_s == RULES.cool_down_s
        assert decision.evidence_id == "e2"
        (view,) = house.quarantine.views()
        assert (view.model_id, view.strikes, view.held) == (NAME, 3, False)
        assert view.eligible_at == house.time.wall() + 30
        assert house.quarantine.strikes(KEY) == 3
        house.restart()
    assert house.quarantine.strike(KEY, NAME, failure(9))


def test_another_version_or_content_is_another_case(house: House) -> None:
    house.strike_out()
    newer = KEY._replace(backend_version="llama.cpp 0.3.37")
    assert house.code(newer) is None
    assert house.code(KEY._replace(fingerprint="f1")) is None
    assert house.quarantine.views({NAME: newer}) == ()
    assert house.quarantine.keys(NAME) == (KEY,)


def test_only_loading_and_routable_time_ages_a_strike(house: House) -> None:
    quarantine = house.quarantine
    for _ in range(2):
        quarantine.watch(KEY, NAME, Readiness.LOADING)
        house.time.go(30)
        quarantine.strike(KEY, NAME, failure())
        quarantine.watch(KEY, NAME, Readiness.UNLOADED)
        house.time.go(86_400)
        house.restart()
        quarantine = house.quarantine
    assert quarantine.strikes(KEY) == 2
    assert quarantine.tick() == ()
    quarantine.watch(KEY, NAME, Readiness.LOADING)
    house.time.go(601)
    assert quarantine.strikes(KEY) == 0
    assert not quarantine.strike(KEY, NAME, failure())


def test_a_window_of_three_long_loads(house: House) -> None:
    quarantine = house.quarantine
    quarantine.watch(KEY, NAME, Readiness.LOADING)
    for expected in (False, False, True):
        house.time.go(1200)
        assert quarantine.tick() == ()  # loading is no clean time
        assert quarantine.strike(KEY, NAME, failure(), window_s=3600) is expected


def test_ten_clean_minutes_clear_the_strikes(house: House) -> None:
    quarantine = house.quarantine
    quarantine.watch(KEY, NAME, Readiness.ROUTABLE)
    quarantine.strike(KEY, NAME, failure())
    house.time.go(599)
    assert quarantine.tick() == ()
    house.time.go(1)
    assert [relief.what for relief in quarantine.tick()] == ["strikes_cleared"]
    assert quarantine.strikes(KEY) == 0
    house.restart()
    assert house.quarantine.strikes(KEY) == 0
    assert house.quarantine.evidence(KEY)[0].id == "e0"


def test_a_failed_canary_quarantines_at_once(house: House) -> None:
    house.quarantine.canary_failed(KEY, NAME, failure(cause="canary: perplexity"))
    house.restart()
    decision = house.quarantine.decision(KEY, NAME)
    assert decision is not None
    assert decision.found == "canary: perplexity"


def test_release_rules(house: House) -> None:
    check = house.quarantine.release_check
    refusal = check(KEY, NAME, early=False)
    assert refusal is not None
    assert refusal.code is Code.CONFLICT
    house.strike_out()
    house.time.go(10)
    refusal = check(KEY, NAME, early=False)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == (Code.CONFLICT, 20)
    assert "0:20" in refusal.message
    assert check(KEY, NAME, early=True) is None
    house.time.go(20)
    house.release(early=False)
    assert house.code() is None
    refusal = check(KEY, NAME, early=True)
    assert refusal is not None
    assert "probation" in refusal.message


def test_probation_wants_ten_clean_minutes_and_twenty_good_requests(house: House) -> None:
    house.strike_out()
    house.quarantine.hold(NAME, actor="me@there")
    house.release()
    assert house.quarantine.views() == ()
    house.quarantine.watch(KEY, NAME, Readiness.ROUTABLE)
    house.time.go(601)
    assert house.quarantine.tick() == ()
    assert [house.quarantine.good(KEY) for _ in range(19)] == [None] * 19
    relief = house.quarantine.good(KEY)
    assert relief is not None
    assert (relief.what, relief.model_id) == ("probation_passed", NAME)
    house.restart()
    assert house.code() is None
    assert not house.quarantine.held(NAME)
    house.strike_out()
    assert house.left() == RULES.cool_down_s


def test_a_failure_on_probation_doubles_the_cool_down_to_its_cap(house: House) -> None:
    house.strike_out()
    expected = [60, 120, 240, 480, 960, 1800, 1800]
    for cool_down in expected:
        house.release()
        assert house.quarantine.strike(KEY, NAME, failure())
        assert house.left() == cool_down
        house.restart()
        assert house.left() == cool_down


@pytest.mark.parametrize("end", ["unload", "restart", "hold"])
def test_whatever_ends_a_release_on_the_way_puts_it_back(house: House, end: str) -> None:
    house.strike_out()
    house.release()
    house.quarantine.watch(KEY, NAME, Readiness.ROUTABLE)
    if end == "unload":
        assert house.quarantine.put_back(KEY)
        assert not house.quarantine.put_back(KEY)
    elif end == "hold":
        house.quarantine.hold(NAME, actor="me")
    else:
        house.restart()
    assert house.code() is Code.MODEL_UNSTABLE
    assert house.left() == RULES.cool_down_s
    house.release()
    assert house.quarantine.put_back(KEY, failed=True)
    assert house.left() == 2 * RULES.cool_down_s


def test_a_hold_is_on_the_id_whatever_the_version(house: House) -> None:
    house.quarantine.hold(NAME, actor="me@\x1bthere")
    house.restart()
    newer = KEY._replace(backend_version="v2")
    for key in (KEY, newer, None):
        decision = house.quarantine.decision(key, NAME)
        assert decision is not None
        assert "held by me@␛there" in decision.message
    assert house.quarantine.decision(KEY, "another") is None
    (view,) = house.quarantine.views()
    assert view.held
    house.release(newer, early=False)
    assert house.code(newer) is None
    assert house.quarantine.put_back(newer)
    assert house.code(newer) is Code.MODEL_UNSTABLE


def test_evidence_is_bounded_to_first_worst_and_last(house: House) -> None:
    for number in range(1, 20):
        requests = ("openclaw-3, 41k tok",) * 3 if number == 7 else ()
        noise = "\x1b[31m" + "x" * 100_000 + "end"
        house.quarantine.strike(KEY, NAME, failure(number, requests=requests, stderr_tail=noise))
    house.restart()
    kept = house.quarantine.evidence(KEY)
    assert [item.id for item in kept] == ["e1", "e7", "e19"]
    assert all(len(item.stderr_tail) <= 8192 and item.stderr_tail.endswith("end") for item in kept)
    assert house.path.stat().st_size < 40_000


def test_a_clock_set_back_lengthens_nothing(house: House) -> None:
    house.strike_out()
    house.time.go(10)
    assert house.left() == 20
    house.time.wall_now -= 86_400
    assert house.left() == 20
    assert house.quarantine.views()[0].eligible_at == house.time.wall() + 20
    house.time.go(20)
    assert house.left() == 0
    house.quarantine.canary_failed(KEY, NAME, failure())
    house.time.wall_now -= 86_400
    house.restart()
    assert house.left() == 60
    house.time.go(60)
    assert house.left() == 0


def test_a_clock_set_forward_clears_no_strikes(house: House) -> None:
    house.quarantine.watch(KEY, NAME, Readiness.ROUTABLE)
    house.quarantine.strike(KEY, NAME, failure())
    house.time.wall_now += 86_400
    assert house.quarantine.tick() == ()
    assert house.quarantine.strikes(KEY) == 1


def test_three_different_models_make_the_backend_suspect(house: House) -> None:
    for fingerprint in ("a", "b"):
        house.strike_out(KEY._replace(fingerprint=fingerprint))
    house.quarantine.canary_failed(KEY._replace(fingerprint="x"), "bad-model", failure())
    assert house.quarantine.suspects() == {}
    house.strike_out(KEY._replace(fingerprint="c"))
    assert list(house.quarantine.suspects()) == [(KEY.backend, KEY.backend_version)]


def test_a_lost_state_is_rebuilt_from_the_registry(house: House, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r.json", house.time.wall)

    def said(fingerprint: str, event: str, outcome: str) -> None:
        evidence = {"id": "e5", "at": 1.0, "model_id": NAME, "cause": "SIGBUS", "phase": "loading"}
        metadata = {"event": event, "fingerprint": fingerprint, "evidence": evidence}
        registry.append(
            RegistryRow(5.0, f"m-{fingerprint}", "gguf", "v", outcome, "because", metadata)
        )

    said("q", "quarantine", "fail")
    said("c", "canary", "fail")
    said("ok", "quarantine", "fail")
    said("ok", "canary", "pass")
    said("s", "strike", "fail")
    house.strike_out()
    house.path.write_bytes(b'{"version": 1, "cases": [')
    house.open()
    lost = house.file
    assert lost.lost
    assert "state.json.corrupt-" in lost.warnings[0]
    assert house.code() is None
    assert sorted(house.quarantine.rebuild(registry)) == ["m-c", "m-q"]
    house.restart()
    assert not house.file.lost
    decision = house.quarantine.decision(Key("q", Backend.GGUF, "v"), "m-q")
    assert decision is not None
    assert (decision.found, decision.evidence_id) == ("because", "e5")


class Policy(RuleBasedStateMachine):
    """Any order of failures, releases, traffic, restarts and clock jumps."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.house = House(self.folder / "state.json")
        self.house.path.unlink(missing_ok=True)
        self.house.restart()
        self.quarantined = self.held = self.probation = self.running = False
        self.recent: list[float] = []
        self.ran = self.clean = 0.0
        self.good = self.level = 0

    def quarantine_now(self) -> None:
        self.level += 1
        self.quarantined, self.probation, self.running = True, False, False
        self.house.quarantine.watch(KEY, NAME, Readiness.QUARANTINED)

    @property
    def blocked(self) -> bool:
        return (self.quarantined or self.held) and not self.probation

    @precondition(lambda self: not self.blocked)
    @rule()
    def run(self) -> None:
        self.running = True
        self.house.quarantine.watch(KEY, NAME, Readiness.ROUTABLE)

    @precondition(lambda self: self.running)
    @rule()
    def crash(self) -> None:
        self.recent = [at for at in self.recent if self.ran - at <= RULES.window_s] + [self.ran]
        self.clean = 0.0
        out = self.probation or len(self.recent) >= RULES.strikes
        assert self.house.quarantine.strike(KEY, NAME, failure()) is out
        if out:
            self.quarantine_now()

    @precondition(lambda self: self.running)
    @rule()
    def fail_the_canary(self) -> None:
        self.clean = 0.0
        self.house.quarantine.canary_failed(KEY, NAME, failure())
        self.quarantine_now()

    @precondition(lambda self: self.running)
    @rule()
    def unload(self) -> None:
        self.house.quarantine.watch(KEY, NAME, Readiness.UNLOADED)
        assert self.house.quarantine.put_back(KEY) is self.probation
        self.running = self.probation = False

    @rule()
    def hold(self) -> None:
        self.house.quarantine.hold(NAME, actor="me")
        self.house.quarantine.watch(KEY, NAME, Readiness.QUARANTINED)
        self.held, self.running, self.probation = True, False, False

    @precondition(lambda self: self.blocked)
    @rule(early=st.booleans())
    def release(self, early: bool) -> None:
        refusal = self.house.quarantine.release_check(KEY, NAME, early)
        if refusal is not None:
            assert refusal.code is Code.CONFLICT
            assert not early
            assert 0 < (refusal.retry_after_s or 0) <= self.cool_down
            return
        self.house.quarantine.begin_release(KEY, NAME)
        self.probation, self.good, self.clean, self.recent = True, 0, 0.0, []

    @precondition(lambda self: self.running)
    @rule(count=st.integers(1, 25))
    def serve(self, count: int) -> None:
        for _ in range(count):
            relief = self.house.quarantine.good(KEY)
            self.good += 1
            self.relieve([relief.what] if relief else [])

    @rule(seconds=st.sampled_from([0.5, 29.0, 31.0, 300.0, 599.0, 601.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.house.time.go(seconds)
        if self.running:
            self.ran += seconds
            self.clean += seconds
        self.relieve([relief.what for relief in self.house.quarantine.tick()])

    def relieve(self, said: list[str]) -> None:
        if "probation_passed" in said:
            assert self.good >= RULES.probation_requests
            assert self.clean >= RULES.clean_s
            self.quarantined = self.held = self.probation = False
            self.level, self.recent = 0, []
        if "strikes_cleared" in said:
            assert self.clean >= RULES.clean_s
            self.recent = []
        elif not self.probation and self.running and self.clean >= RULES.clean_s:
            self.recent = []  # there was nothing to clear

    @rule(seconds=st.sampled_from([-86_400.0, -5.0, 0.5, 86_400.0]))
    def jump(self, seconds: float) -> None:
        self.house.time.wall_now += seconds

    @rule()
    def restart(self) -> None:
        if self.running:  # an orderly end writes the meters; probation ends with the engine
            self.house.quarantine.watch(KEY, NAME, Readiness.UNLOADED)
        self.house.restart()
        if self.probation:
            # What the release forgave was forgiven only for as long as it lasted.
            self.recent = [] if self.quarantined else self.recent
        self.running = self.probation = False

    @property
    def cool_down(self) -> float:
        return min(RULES.cool_down_s * 2.0 ** max(self.level - 1, 0), RULES.cool_down_max_s)

    @invariant()
    def the_file_tells_the_same(self) -> None:
        self.house.quarantine.flush()
        twin = House(self.house.path, self.house.time)
        assert (twin.code() is not None) == (self.quarantined or self.held)
        assert (self.house.code() is not None) == self.blocked
        assert self.house.left() <= self.cool_down
        assert bool(self.house.quarantine.views()) == self.blocked


def test_any_order_of_events(tmp_path: Path) -> None:
    Policy.folder = tmp_path
    Policy.TestCase.settings = settings(
        max_examples=examples(40),
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    Policy.TestCase("runTest").runTest()

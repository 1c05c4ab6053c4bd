"""A Hypothesis state machine over the whole engine: real gate, ledger, quarantine and files on
disk, an injected clock, and workers that die at the machine's word.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine import ChatEnd, ChatTurn, Code, Engine, EngineError, Readiness, load_settings
from engine.types import ModelView
from tests.effort import examples
from tests.engine.puppet import PuppetPlacement

ACTOR = "machine@test"
MODEL = "subject"
T = TypeVar("T")
MOVING = (Readiness.ADMITTED, Readiness.LOADING, Readiness.CANARY_PENDING)


class WholeLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.loop = asyncio.new_event_loop()
        self.now = 1_000_000.0
        self.content = 0
        self.version = "1.0"
        self.placement = PuppetPlacement()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.write_model()
        self.open()

    def write_model(self) -> None:
        model = self.folder / "models" / MODEL
        model.mkdir(parents=True, exist_ok=True)
        context = 512 + self.content
        script: dict[str, Any] = {"kind": "simulated", "weights_gb": 1, "context": context}
        (model / "simulated.json").write_text(
            json.dumps(script | {"backend_version": self.version})
        )

    def open(self) -> None:
        values: dict[str, Any] = {
            "home": self.folder / "home",
            "folders": (self.folder / "models",),
            "hf_cache": self.folder / "none",
            "lmstudio": self.folder / "none",
            "starter": False,
            "spare": False,
            "memory_gb": 4,
            "quarantining": {"backoff_s": (0.001, 0.001, 0.001)},
        }
        (self.folder / "none").mkdir(exist_ok=True)
        self.engine = Engine(
            load_settings(**values), clock=lambda: self.now, placement=self.placement
        )
        self.run(self.engine.start())

    def teardown(self) -> None:
        with suppress(AttributeError):  # Hypothesis may end before `begin`
            self.run(self.engine.stop())
        self.loop.close()
        shutil.rmtree(self.folder)

    @property
    def view(self) -> ModelView:
        found = self.engine.snapshot().model(MODEL)
        assert found is not None
        return found

    @property
    def at_rest(self) -> bool:
        view = self.view
        serving = view.readiness is Readiness.ROUTABLE
        return (
            view.readiness not in MOVING
            and not view.draining
            and (view.pid is not None) is serving
            and (self.engine.snapshot().memory.reserved > 0) is serving
        )

    async def settle(self) -> None:
        """Let the engine come to rest: nothing is on its way any more."""
        async with asyncio.timeout(20):
            while not self.at_rest:  # noqa: ASYNC110 - the console polls it too
                await asyncio.sleep(0.001)

    async def tried(self, work: Coroutine[Any, Any, object]) -> Code | None:
        try:
            await work
        except EngineError as error:
            return error.decision.code
        finally:
            await self.settle()
        return None

    # -- what operators, models and machines do -------------------------------------------------

    @rule(override=st.booleans())
    def load(self, override: bool) -> None:
        from engine import LoadOptions

        before = self.view.readiness
        options = LoadOptions(allow_unsupported_runtime=override)
        code = self.run(self.tried(self.engine.load(MODEL, options, actor=ACTOR)))
        if before is Readiness.QUARANTINED:
            assert code is Code.MODEL_UNSTABLE
        if before is Readiness.ROUTABLE:
            assert code is None

    @rule()
    def unload(self) -> None:
        before = self.view.readiness
        on_probation = self.view.probation
        assert self.run(self.tried(self.engine.unload(MODEL, actor=ACTOR))) is None
        stays = before is Readiness.QUARANTINED or on_probation
        assert self.view.readiness is (Readiness.QUARANTINED if stays else Readiness.UNLOADED)

    @rule(early=st.booleans())
    def release(self, early: bool) -> None:
        before = self.view.readiness
        code = self.run(self.tried(self.engine.release(MODEL, actor=ACTOR, early=early)))
        if before is not Readiness.QUARANTINED:
            assert code is Code.CONFLICT
        if code is None and self.view.readiness is Readiness.ROUTABLE:
            assert self.view.probation

    @rule()
    def hold(self) -> None:
        assert self.run(self.tried(self.engine.hold(MODEL, actor=ACTOR))) is None
        assert self.view.readiness is Readiness.QUARANTINED

    @rule(status=st.sampled_from([-11, -6, -9, 1]), memory=st.booleans())
    @precondition(lambda self: self.placement.alive)
    def die(self, status: int, memory: bool) -> None:
        strikes = self.view.strikes
        words = b"ggml: failed to allocate buffer\n" if memory else b""
        self.placement.alive[0].end(status, words)
        self.run(self.settle_after_death())
        if memory:
            assert self.view.strikes <= strikes
            assert self.view.readiness in (Readiness.UNLOADED, Readiness.QUARANTINED)

    async def settle_after_death(self) -> None:
        version = self.view.version
        async with asyncio.timeout(20):
            while self.view.version == version:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await self.settle()

    @rule(sick=st.booleans())
    def sicken(self, sick: bool) -> None:
        self.placement.sick = sick

    @rule()
    def replace_files(self) -> None:
        self.content += 1
        self.write_model()
        self.run(self.rescan())

    @rule(version=st.sampled_from(["1.0", "1.1", "2.0"]))
    def upgrade(self, version: str) -> None:
        self.version = version
        self.placement.version = f"simulated {version}"
        self.write_model()
        self.run(self.rescan())

    async def rescan(self) -> None:
        await self.engine.rescan()
        await self.settle()

    @rule(seconds=st.sampled_from([-3600.0, 1.0, 45.0, 700.0, 1900.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        async def asked() -> ChatEnd | Code:
            try:
                stream = await self.engine.chat(MODEL, (ChatTurn("user", "?"),), client="c")
            except EngineError as error:
                return error.decision.code
            items = [item async for item in stream]
            ends = [item for item in items if isinstance(item, ChatEnd)]
            assert len(ends) == 1
            assert items[-1] is ends[0]
            return ends[0]

        answer = self.run(asked())
        if self.view.readiness is Readiness.ROUTABLE:
            assert isinstance(answer, ChatEnd)
            assert answer.reason == "stop"
        elif self.view.readiness is Readiness.QUARANTINED:
            assert answer is Code.MODEL_UNSTABLE
        else:
            assert answer is Code.MODEL_NOT_READY

    @rule()
    def restart(self) -> None:
        quarantined = self.view.readiness is Readiness.QUARANTINED or self.view.probation
        self.run(self.engine.stop())
        assert not self.placement.alive
        self.open()
        expected = Readiness.QUARANTINED if quarantined else Readiness.UNLOADED
        assert self.view.readiness is expected

    # -- what must always hold ------------------------------------------------------------------

    @invariant()
    def routable_means_proved(self) -> None:
        if not hasattr(self, "engine") or self.view.readiness is not Readiness.ROUTABLE:
            return
        rows = [r for r in self.engine.snapshot().registry if r.metadata["event"] == "canary"]
        assert rows
        assert rows[0].outcome == "pass"
        assert rows[0].backend_version == self.view.backend_version

    @invariant()
    def every_worker_has_an_owner(self) -> None:
        if not hasattr(self, "engine"):
            return
        owned = [self.view.pid] if self.view.pid is not None else []
        assert [worker.pid for worker in self.placement.alive] == owned

    @invariant()
    def memory_is_promised_to_the_living_only(self) -> None:
        if not hasattr(self, "engine"):
            return
        live = self.view.readiness is Readiness.ROUTABLE
        assert (self.engine.snapshot().memory.reserved > 0) is live

    @invariant()
    def a_quarantine_is_shown_with_its_reason(self) -> None:
        if hasattr(self, "engine") and self.view.readiness is Readiness.QUARANTINED:
            shown = {view.model_id: view for view in self.engine.snapshot().quarantine}
            assert shown[MODEL].reason


WholeLife.TestCase.settings = settings(
    max_examples=examples(25),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWholeLife = WholeLife.TestCase

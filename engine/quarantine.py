"""Who may not run: strikes, cool-downs, holds and probation, on disk before they are acted on.

Strikes and quarantines belong to a content on a backend version, holds to a model's id. A release
is only believed once its probation is over: until then the file still says quarantined, so that
the engine's end on the way puts the model back by itself.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine import strikes
from engine.cases import Cases
from engine.errors import Code, Decision, refuse
from engine.home.statefile import Case, Sentence, StateFile
from engine.ledger.record import bounded, read_evidence
from engine.registry import Registry
from engine.settings import Quarantining
from engine.text import clean_line
from engine.types import Backend, Evidence, Key, QuarantineView, Readiness

_RUNNING = frozenset({Readiness.LOADING, Readiness.CANARY_PENDING, Readiness.ROUTABLE})


@dataclass(slots=True)
class _Probation:
    """A release that has not proved itself yet. In memory only, see the module's docstring."""

    model_id: str
    good: int = 0


@dataclass(frozen=True, slots=True)
class Relief:
    """Something good that time or traffic did: strikes forgotten, or a probation passed."""

    key: Key
    model_id: str
    what: str
    """``strikes_cleared`` or ``probation_passed``."""


def _clock_face(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.999), 60)
    return f"{minutes}:{rest:02}"


class Quarantine:
    """The quarantine of one engine. Every method may be called from any thread.

    Args:
        file: Where everything is kept.
        rules: The numbers.
        clock: Unix seconds. A jump back moves every cool-down along, so that none gets longer; a
            jump forward may end one early, which only lets an operator release.
        ticks: A clock that never jumps, for running time. By default the system's own when
            ``clock`` is ``time.time``, else ``clock``.
    """

    def __init__(
        self,
        file: StateFile,
        rules: Quarantining,
        clock: Callable[[], float],
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._rules = rules
        self._mutex = threading.RLock()
        self._cases = Cases(file, clock, ticks or (time.monotonic if clock is time.time else clock))
        self._probations: dict[Key, _Probation] = {}

    def watch(self, key: Key, model_id: str, readiness: Readiness) -> None:
        """Tell of every change of readiness: only loading and routable time counts.

        Call it at each transition, the back-off's return to loading included.
        """
        with self._mutex:
            self._cases.settle(key)
            if readiness in _RUNNING:
                self._cases.run(key, model_id, clean=readiness is Readiness.ROUTABLE)
            elif self._cases.meters.pop(key, None) is not None:
                self._cases.save(durable=False)

    def strike(self, key: Key, model_id: str, evidence: Evidence, *, window_s: float = 0.0) -> bool:
        """Count one crash or hang. Client errors, drains and environment faults are not for here.

        Args:
            window_s: What three loads of this model take, when that may exceed the window.

        Returns:
            Whether the model is quarantined now and must not be started again: the third strike
            inside the window, or any on probation.
        """
        with self._mutex:
            self._cases.settle(key)
            now = self._cases.now()
            case = strikes.remembered(self._cases.of(key, model_id), bounded(evidence))
            already = case.sentence is not None and key not in self._probations
            case = strikes.struck(case, now, window_s, self._rules)
            count = strikes.standing(case)
            cause = clean_line(evidence.cause, limit=200)
            if key in self._probations:
                case = strikes.sentenced(case, "strikes", f"{cause} on probation", now, self._rules)
                del self._probations[key]
            elif not already and count >= self._rules.strikes:
                reason = f"crash_loop:{count} {cause}"
                case = strikes.sentenced(case, "strikes", reason, now, self._rules)
            return self._decide(key, case)

    def canary_failed(self, key: Key, model_id: str, evidence: Evidence) -> None:
        """A required canary step failed: quarantined at once."""
        with self._mutex:
            self._cases.settle(key)
            now = self._cases.now()
            case = strikes.remembered(self._cases.of(key, model_id), bounded(evidence))
            case = case.model_copy(update={"clean_s": 0.0})
            reason = clean_line(evidence.cause, limit=200)
            self._probations.pop(key, None)
            self._decide(key, strikes.sentenced(case, "canary", reason, now, self._rules))

    def _decide(self, key: Key, case: Case) -> bool:
        self._cases.known[key] = case
        quarantined = case.sentence is not None and key not in self._probations
        if quarantined:
            self._cases.meters.pop(key, None)
        self._cases.save(durable=False)  # whoever shows it must not wait for a disk first
        return quarantined

    def flush(self) -> None:
        """Have strikes and failed canaries on disk; waits for it."""
        self._cases.flush()

    def hold(self, model_id: str, *, actor: str, reason: str = "", family: str = "") -> None:
        """Quarantine a model by hand, whatever its content or backend, until it is released.

        Args:
            family: Set where every copy of it is held, wherever one appears.
        """
        with self._mutex:
            name = self._cases.hold(model_id, actor, reason, family)
            for key, probation in list(self._probations.items()):
                if probation.model_id == name:
                    del self._probations[key]
            self._cases.save()

    def inherit(self, model_id: str, family: str) -> None:
        """A copy has appeared: it is held where every copy of its family is."""
        with self._mutex:
            if self._cases.inherit(model_id, family):
                self._cases.save(durable=False)

    def decision(self, key: Key | None, model_id: str) -> Decision | None:
        """Why this model may not run, or None when it may.

        Args:
            key: None while the content is not known yet; then only a hold can answer.
        """
        with self._mutex:
            now = self._cases.now()
            if key is not None and key in self._probations:
                return None
            name = clean_line(model_id)
            hold = self._cases.holds.get(name)
            case = self._cases.known.get(key) if key is not None else None
            sentence = case.sentence if case else None
            if hold is None and sentence is None:
                return None
            left = self._left(sentence, now)
            reason = hold.reason if hold else sentence.reason if sentence else ""
            when = f" in {_clock_face(left)}" if left else ""
            return refuse(
                Code.MODEL_UNSTABLE,
                f"{name} is quarantined: {reason}",
                retryable=False,
                retry_after_s=left or None,
                check="quarantine",
                expected="neither quarantined nor held",
                found=reason,
                remedy=f"look at the evidence; you may release it{when}",
                evidence_id=case.last.id if case and case.last else None,
            )

    def release_check(self, key: Key | None, model_id: str, early: bool) -> Decision | None:
        """Why this model cannot be released now, or None when it can.

        Args:
            early: Whether the operator confirmed a release before the cool-down's end.
        """
        with self._mutex:
            name = clean_line(model_id)
            if self.decision(key, model_id) is None:
                on_probation = key is not None and key in self._probations
                why = "is already on probation" if on_probation else "is not quarantined"
                return refuse(Code.CONFLICT, f"{name} {why}", check="quarantine", found=why)
            case = self._cases.known.get(key) if key is not None else None
            left = self._left(case.sentence if case else None, self._cases.now())
            if left and not early:
                return refuse(
                    Code.CONFLICT,
                    f"{name} may be released in {_clock_face(left)}",
                    retry_after_s=left,
                    check="quarantine",
                    expected="the cool-down is over, or an early release is confirmed",
                    found=f"{_clock_face(left)} left",
                    remedy="wait, or release it early",
                )
            return None

    def _left(self, sentence: Sentence | None, now: float) -> float:
        """Seconds of cool-down left; never more than the cool-down is long."""
        if sentence is None:
            return 0.0
        return min(max(sentence.eligible_at - now, 0.0), sentence.cool_down_s)

    def begin_release(self, key: Key, model_id: str) -> None:
        """Let a quarantined model try: half open, on probation. Ask ``release_check`` first."""
        with self._mutex:
            case = strikes.forgiven(self._cases.of(key, model_id))
            self._cases.known[key] = case.model_copy(update={"clean_s": 0.0})
            self._probations[key] = _Probation(clean_line(model_id))
            self._cases.tell_apart(model_id)

    def on_probation(self, key: Key) -> bool:
        """Whether this content is running on a release that has not proved itself yet."""
        return key in self._probations

    def put_back(self, key: Key, *, failed: bool = False, reason: str = "") -> bool:
        """End a release that did not succeed: a refusal, an unload or an environment fault.

        Args:
            failed: The model itself failed, so its cool-down starts anew and longer. A strike
                or a failed canary need no call: they put back by themselves.

        Returns whether there was a release to end.
        """
        with self._mutex:
            probation = self._probations.pop(key, None)
            if probation is None:
                return False
            self._cases.settle(key)
            self._cases.meters.pop(key, None)
            if failed:
                why = clean_line(reason) or "failed on probation"
                case = self._cases.of(key, probation.model_id)
                case = strikes.sentenced(case, "strikes", why, self._cases.now(), self._rules)
                self._cases.known[key] = case
            self._cases.save()
            return True

    def good(self, key: Key) -> Relief | None:
        """Count one request that ended well; it may be the one that ends the probation."""
        with self._mutex:
            probation = self._probations.get(key)
            if probation is None:
                return None
            probation.good += 1
            return self._relieve(key)

    def tick(self) -> tuple[Relief, ...]:
        """Let time do its good; call it about once a second."""
        with self._mutex:
            self._cases.now()
            found = (self._relieve(key) for key in list(self._cases.meters))
            return tuple(relief for relief in found if relief is not None)

    def _relieve(self, key: Key) -> Relief | None:
        self._cases.settle(key)
        case = self._cases.known.get(key)
        if case is None or case.clean_s < self._rules.clean_s:
            return None
        probation = self._probations.get(key)
        if probation is not None:
            if probation.good < self._rules.probation_requests:
                return None
            del self._probations[key]
            self._cases.holds.pop(probation.model_id, None)
            self._cases.known[key] = strikes.closed(case)
            self._cases.save()
            return Relief(key, probation.model_id, "probation_passed")
        if not case.strikes:
            return None
        self._cases.known[key] = strikes.forgiven(case)
        self._cases.save()
        return Relief(key, case.model_id, "strikes_cleared")

    def strikes(self, key: Key) -> int:
        """Strikes still inside their window, or those that led to the quarantine; for the row."""
        with self._mutex:
            self._cases.settle(key)
            case = self._cases.known.get(key)
            if case is None:
                return 0
            count = strikes.standing(case)
            if case.sentence is None or key in self._probations:
                return count
            return max(count, case.sentence.strikes)

    def struck(self) -> frozenset[str]:
        """The models, quarantined or not, with strikes that still stand."""
        with self._mutex:
            cases = self._cases.known.values()
            return frozenset(case.model_id for case in cases if strikes.standing(case))

    def last_chance(self, key: Key) -> bool:
        """Whether the next strike would quarantine it."""
        return key in self._probations or self.strikes(key) + 1 >= self._rules.strikes

    def evidence(self, key: Key) -> tuple[Evidence, ...]:
        """The first, worst and last failure of this content, oldest first."""
        case = self._cases.known.get(key)
        return case.evidence if case else ()

    def keys(self, model_id: str) -> tuple[Key, ...]:
        """What this model is quarantined for, newest first; an old backend version counts too."""
        name = clean_line(model_id)
        with self._mutex:
            found = [c for c in self._cases.known.values() if c.model_id == name and c.sentence]
            found.sort(key=lambda c: c.sentence.since if c.sentence else 0.0, reverse=True)
            return tuple(case.key for case in found)

    def held(self, model_id: str) -> bool:
        """Whether an operator's hold is on this model."""
        return clean_line(model_id) in self._cases.holds

    def views(self, current: Mapping[str, Key] | None = None) -> tuple[QuarantineView, ...]:
        """Every quarantined model, newest first; one on probation is not among them.

        Args:
            current: The present key by model id; quarantines of these models under another key
                (an older backend version, a file since replaced) are left out.
        """
        with self._mutex:
            self._cases.now()
            current = {clean_line(name): key for name, key in (current or {}).items()}
            released = {probation.model_id for probation in self._probations.values()}
            views: dict[str, QuarantineView] = {}
            for case in self._cases.known.values():
                if case.sentence is None or case.key in self._probations:
                    continue
                if current.get(case.model_id, case.key) != case.key:
                    continue
                newer = views.get(case.model_id)
                if newer is None or newer.since < case.sentence.since:
                    views[case.model_id] = self._view(case, case.sentence)
            for name, hold in self._cases.holds.items():
                if name not in views and name not in released:
                    views[name] = QuarantineView(
                        name, hold.reason, hold.since, 0, hold.since, held=True, cool_down_s=0.0
                    )
            return tuple(sorted(views.values(), key=lambda view: view.since, reverse=True))

    def _view(self, case: Case, sentence: Sentence) -> QuarantineView:
        hold = self._cases.holds.get(case.model_id)
        return QuarantineView(
            model_id=case.model_id,
            reason=f"{hold.reason}; {sentence.reason}" if hold else sentence.reason,
            since=sentence.since,
            strikes=sentence.strikes,
            eligible_at=sentence.eligible_at,
            held=hold is not None,
            cool_down_s=sentence.cool_down_s,
            evidence=case.evidence,
        )

    def suspects(self) -> dict[tuple[Backend, str], tuple[str, ...]]:
        """Backend versions on which three different contents were struck down, and the models."""
        with self._mutex:
            return strikes.suspects(self._cases.known.values())

    def rebuild(self, registry: Registry) -> tuple[str, ...]:
        """Take quarantines from the registry's verdicts when ``StateFile.lost``.

        Strikes, holds and how often a model had been quarantined are not in there; a release that
        was under way is undone. Returns the models that were put under quarantine.
        """
        with self._mutex:
            now = self._cases.now()
            rebuilt: list[str] = []
            for key, row in registry.verdicts().items():
                if row.outcome != "fail" or (
                    key in self._cases.known and self._cases.known[key].sentence
                ):
                    continue
                case = self._cases.of(key, row.model_id)
                evidence = read_evidence(row.metadata.get("evidence"))
                if evidence is not None:
                    case = strikes.remembered(case, bounded(evidence))
                case = strikes.sentenced(case, "registry", row.reason, now, self._rules)
                self._cases.known[key] = case
                rebuilt.append(row.model_id)
            self._cases.save()
            return tuple(rebuilt)

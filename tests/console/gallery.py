"""Models in every readiness, and the snapshots the pictures are taken of."""

from typing import Any

from engine import (
    Backend,
    CanaryStep,
    CanaryView,
    Code,
    Decision,
    EngineSnapshot,
    Event,
    Evidence,
    MemoryEstimate,
    ModelView,
    QuarantineView,
    Readiness,
    RegistryRow,
    RequestView,
    StepResult,
)
from tests.console.scripted import GB, T0, snapshot_of

STEPS = (
    *("handshake", "tokenizer", "template", "logits", "perplexity"),
    *("decode", "streaming", "cancel", "memory"),
)
TIMES = (2.0, 1.0, 3.0, 61.0, 240.0, 310.0, 122.0, 88.0, 4.0)
DETAILS = ("", "", "", "", "18.4 (<1,000)", "16/16 tok", "", "", "121 GB of 124 GB")
MLX, LLAMA = "mlx-lm 0.32.2, mlx 0.32.4", "llama.cpp 0.3.36"


def model(model_id: str, gb: float = 5.0, backend: str = "gguf", **fields: Any) -> ModelView:
    """A model on disk, unloaded unless told otherwise."""
    weights = int(gb * GB)
    defaults: dict[str, Any] = {
        "id": model_id,
        "path": f"/models/{model_id}",
        "backend": Backend(backend),
        "runtime": "installed",
        "backend_version": LLAMA if backend == "gguf" else MLX,
        "weight_bytes": weights,
        "architecture": "llama",
        "quantisation": "Q4_K_M" if backend == "gguf" else "4-bit",
        "context_trained": 32768,
        "estimate": MemoryEstimate(weights, 0, 0, 4096),
        "since": T0 - 60,
        "version": 3,
    }
    return ModelView(**{**defaults, **fields})


def refusal(code: Code = Code.MODEL_INCOMPLETE, **fields: Any) -> Decision:
    """A Decision of the gate."""
    defaults: dict[str, Any] = {
        "code": code,
        "http_status": 422,
        "message": "2 of 5 shards are missing",
        "retryable": False,
        "check": "complete",
        "expected": "5 shards",
        "found": "3 shards",
        "remedy": "download the model again",
    }
    return Decision(**{**defaults, **fields})


def canary(model_id: str, done: int, *, failed: str = "", **fields: Any) -> CanaryView:
    """A run in which ``done`` steps have answered; ``failed`` names a step that failed."""
    steps = []
    for index, name in enumerate(STEPS):
        result, ms, detail = StepResult.PENDING, None, ""
        if index < done:
            result, ms, detail = StepResult.PASS, TIMES[index], DETAILS[index]
        elif index == done and not failed:
            result, detail = StepResult.RUNNING, "7/16 tok"
        if name == failed:
            result, ms, detail = StepResult.FAIL, 240.0, "149,201 (<1,000)"
        steps.append(CanaryStep(name, result, ms, detail))
    over = done == len(STEPS) or bool(failed)
    defaults: dict[str, Any] = {
        "ended_at": T0 - 1 if over else None,
        "passed": None if not over else not failed,
        "reason": f"{failed} out of bounds" if failed else "",
        "ttft_ms": 122.0 if over and not failed else None,
        "tokens_per_second": 46.2 if over and not failed else None,
    }
    return CanaryView(model_id, "run-1", T0 - 5, tuple(steps), **{**defaults, **fields})


def evidence(model_id: str, cause: str = "SIGABRT") -> Evidence:
    """One death under a long prefill."""
    return Evidence(
        id="ev-1",
        at=T0 - 43_000,
        model_id=model_id,
        cause=cause,
        phase="routable",
        detail="ggml_abort in the attention kernel",
        signal=cause,
        stderr_tail="GGML_ASSERT: n_tokens <= n_batch",
        requests=("prefill 41k tok, client openclaw-3",),
        backend="mlx",
        backend_version=MLX,
    )


def routable(model_id: str = "MiniMax-M2.5-4bit", gb: float = 121, **fields: Any) -> ModelView:
    """Proved and in service."""
    defaults: dict[str, Any] = {
        "backend": "mlx",
        "readiness": Readiness.ROUTABLE,
        "canary": canary(model_id, len(STEPS)),
        "requests": 2,
        "tokens_per_second": 46.2,
        "context": 32768,
        "measured_bytes": int(gb * 0.98 * GB),
    }
    return model(model_id, gb, **{**defaults, **fields})


def proving(model_id: str = "GLM-5-2.5bit", done: int = 5, **fields: Any) -> ModelView:
    """In its canary, loaded with an override."""
    defaults: dict[str, Any] = {
        "backend": "mlx",
        "readiness": Readiness.CANARY_PENDING,
        "canary": canary(model_id, done),
        "override": True,
    }
    return model(model_id, 185, **{**defaults, **fields})


def loading(
    model_id: str = "SmolLM2-135M-Instruct.Q4_1", progress: float | None = 0.42, **fields: Any
) -> ModelView:
    """On its way into memory."""
    defaults: dict[str, Any] = {"readiness": Readiness.LOADING, "progress": progress}
    return model(model_id, 0.094, **{**defaults, **fields})


def quarantined(model_id: str = "Kimi-K2.5-3bit", **fields: Any) -> ModelView:
    """Struck out."""
    defaults: dict[str, Any] = {
        "backend": "mlx",
        "readiness": Readiness.QUARANTINED,
        "strikes": 3,
        "reason": "three strikes in ten minutes: SIGABRT",
        "evidence": evidence(model_id),
    }
    return model(model_id, 362, **{**defaults, **fields})


def case(model_id: str = "Kimi-K2.5-3bit", **fields: Any) -> QuarantineView:
    """The case file of a quarantined model, 4:12 before a release is due."""
    defaults: dict[str, Any] = {
        "reason": "crash_loop:3 SIGABRT",
        "since": T0 - 43_000,
        "strikes": 3,
        "eligible_at": T0 + 252,
        "held": False,
        "cool_down_s": 300.0,
        "evidence": (evidence(model_id),),
    }
    return QuarantineView(model_id, **{**defaults, **fields})


def refused(model_id: str = "broken-13B", **fields: Any) -> ModelView:
    """Turned away at the gate."""
    return model(model_id, 7.4, **{"refusal": refusal(), **fields})


def registry() -> tuple[RegistryRow, ...]:
    """Three verdicts, newest first."""
    return (
        RegistryRow(T0, "MiniMax-M2.5-4bit", "mlx", MLX, "pass", "canary 9/9, 46.2 tok/s"),
        RegistryRow(T0 - 211, "Kimi-K2.5-3bit", "mlx", MLX, "fail", "crash_loop:3 SIGABRT"),
        RegistryRow(
            T0 - 669, "GLM-5-2.5bit", "mlx", "mlx-lm 0.30.7", "fail", "runtime_incompatible"
        ),
    )


def request(model_id: str = "MiniMax-M2.5-4bit", **fields: Any) -> RequestView:
    """A request in decode."""
    defaults: dict[str, Any] = {
        "id": "req-1",
        "client": "openclaw-3",
        "phase": "decode",
        "prompt_tokens": 812,
        "prefilled": 812,
        "generated": 64,
        "started_at": T0 - 4,
    }
    return RequestView(model_id=model_id, **{**defaults, **fields})


def event(message: str, model_id: str = "", seq: int = 1, **fields: Any) -> Event:
    """One line of the log."""
    defaults: dict[str, Any] = {"ts": T0, "kind": "model_changed", "actor": "ops@local"}
    return Event(seq, message=message, model_id=model_id, **{**defaults, **fields})


def working() -> EngineSnapshot:
    """The design's own sketch: one model in every state."""
    return snapshot_of(
        routable(),
        proving(),
        loading(),
        quarantined(),
        model("Qwen3-8B-Q4_K_M"),
        refused(),
        quarantine=(case(),),
        registry=registry(),
        registry_total=3,
        events=(event("canary_pending → routable", "MiniMax-M2.5-4bit"),),
        requests=(request(), request(id="req-2", phase="prefill", prefilled=400, generated=0)),
    )

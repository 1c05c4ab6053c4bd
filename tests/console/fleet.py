"""An engine of four hosts: its own, a well one, one that is not heard, one that is lost."""

from dataclasses import replace
from typing import Any

from console.whereabouts import plain_id
from engine import Backend, EngineSnapshot, HostState, HostView, MemoryView, ModelView, RuntimeView
from tests.console import gallery
from tests.console.scripted import GB, T0, snapshot_of

OWN, WELL, STALE, LOST = "mono512", "gpu-1", "gpu-2", "attic"
WHY_LOST = "nothing heard of it for 15 s"


def memory(budget: int, reserved: int) -> MemoryView:
    """A budget in GB and what is promised of it."""
    return MemoryView(budget * GB, reserved * GB, reserved * GB, (budget - reserved) * GB)


def host(name: str, budget: int, reserved: int, **fields: Any) -> HostView:
    """A host with both backends."""
    defaults: dict[str, Any] = {
        "own": False,
        "devices": ("Linux x86_64", "A100"),
        "memory": memory(budget, reserved),
        "runtimes": (
            RuntimeView("default", Backend.MLX, "", "mlx is not installed"),
            RuntimeView("default", Backend.GGUF, "llama-cpp-python 0.3.36"),
            RuntimeView("default", Backend.SIMULATED, "simulated 1.0"),
        ),
        "models": 1,
    }
    return HostView(name, **{**defaults, **fields})


def hosts() -> tuple[HostView, ...]:
    """One in every state, the engine's own first."""
    both = (
        RuntimeView("default", Backend.MLX, gallery.MLX),
        RuntimeView("default", Backend.GGUF, "llama-cpp-python 0.3.36"),
        RuntimeView("next", Backend.MLX, "mlx-lm 0.33.0, mlx 0.33.1"),
    )
    own = host(OWN, 512, 121, own=True, devices=("Darwin arm64",), runtimes=both, models=1)
    return (
        own,
        host(WELL, 320, 306, address="10.0.0.11", models=2),
        host(
            *(STALE, 320, 40),
            address="10.0.0.12",
            state=HostState.STALE,
            heard_at=T0 - 12,
            why="not heard",
        ),
        host(
            *(LOST, 64, 0),
            address="10.0.0.40",
            devices=("Linux aarch64",),
            state=HostState.LOST,
            heard_at=T0 - 3_700,
            why=WHY_LOST,
            models=0,
        ),
    )


def models() -> tuple[ModelView, ...]:
    """What stands on each of them; of two models on two."""
    lost = f"host lost: {WHY_LOST}; no other host has the files"
    told = (
        gallery.routable(host=OWN),
        gallery.routable("MiniMax-M2.5-4bit@gpu-1", host=WELL, requests=1),
        gallery.proving("GLM-5-2.5bit@gpu-1", host=WELL),
        gallery.quarantined("Kimi-K2.5-3bit@gpu-1", host=WELL),
        gallery.model("Qwen3-8B-Q4_K_M", host=OWN),
        gallery.routable("gemma-3-27b-it-qat@gpu-2", 16, backend="gguf", host=STALE),
        gallery.model("phi-4-Q4_K_M@gpu-2", 9, host=STALE),
        gallery.model("Mistral-Small-24B@attic", 14, host=LOST, reason=lost),
        gallery.model("Qwen3-8B-Q4_K_M@attic", host=LOST),
    )
    return tuple(replace(model, family=plain_id(model)) for model in told)


def working() -> EngineSnapshot:
    """All of it."""
    there = hosts()
    promised = [each.memory for each in there if each.state is not HostState.LOST]
    total = memory(
        sum(each.budget for each in promised) // GB, sum(each.reserved for each in promised) // GB
    )
    return replace(
        snapshot_of(*models(), memory=total, hosts=there),
        quarantine=(gallery.case("Kimi-K2.5-3bit@gpu-1"),),
        registry=gallery.registry(),
        registry_total=3,
        events=(gallery.event("gpu-2 is not heard any more", level="warn"),),
        requests=(gallery.request(), gallery.request("MiniMax-M2.5-4bit@gpu-1", id="req-2")),
    )


def lone() -> EngineSnapshot:
    """The engine's own host alone, as every engine shows itself."""
    [own, *_] = hosts()
    working = gallery.working()
    own = replace(own, memory=working.memory)
    return replace(
        working, hosts=(own,), models=tuple(replace(m, host=OWN) for m in working.models)
    )

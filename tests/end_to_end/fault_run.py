"""Real workers killed, stopped, flooded and torn under chat load, for as long as one likes.

    uv run python -m tests.end_to_end.fault_run --seconds 120

The test suite runs it in a short form. The order of faults follows the seed.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from engine import ChatEnd, ChatOptions, ChatTurn, Engine, EngineError, Readiness, load_settings
from tests.process import workers_below

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP)
STARTER = "SmolLM2-135M-Instruct.Q4_1"
SCRIPTS: dict[str, dict[str, Any]] = {
    "steady": {},
    "floods": {"faults": [{"when": "token", "after": 5, "do": "flood_stderr"}]},
    "tears": {"faults": [{"when": "token", "after": 30, "do": "torn_frame", "times": 3}]},
}
CLIENTS = 6


@dataclass
class Account:
    """What came of a run."""

    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    unended: int = 0
    doubly: int = 0
    deaths: int = 0
    strike_rows: int = 0
    orphans: int = 0
    descriptors: tuple[int, int] = (0, 0)
    resident_mb: tuple[float, float] = (0.0, 0.0)

    @property
    def sound(self) -> bool:
        """Every request ended once, every counted death has its row, nothing is left over."""
        return (
            self.unended == 0
            and self.doubly == 0
            and self.deaths == self.strike_rows
            and self.orphans == 0
            and sum(self.ends.values()) == self.asked
        )


def _open(folder: Path) -> Engine:
    for name, script in SCRIPTS.items():
        model = folder / "models" / name
        model.mkdir(parents=True)
        quick = {"kind": "simulated", "weights_gb": 0.1, "load_seconds": 0.05}
        speed = {"tokens_per_second": 100, "say": ["It", " works", "."]}
        (model / "simulated.json").write_text(json.dumps(quick | speed | script))
    values: dict[str, Any] = {
        "home": folder / "home",
        "folders": (folder / "models",),
        "hf_cache": folder / "models",
        "lmstudio": folder / "models",
        "starter": True,
        "context": 512,
        "threads": 1,
        "quarantining": {"strikes": 10_000, "backoff_s": (0.05,)},
        "deadlines": {"heartbeat_s": 3.0, "first_token_s": 3.0, "silence_s": 3.0, "canary_s": 5.0},
    }
    return Engine(load_settings(**values))


async def _client(engine: Engine, name: str, until: float, account: Account, seed: int) -> None:
    choose = random.Random(seed)
    loop = asyncio.get_running_loop()
    models = [*SCRIPTS, STARTER]
    while loop.time() < until:
        words = f"{name} asks {choose.random()}"
        options = ChatOptions(max_tokens=choose.randint(1, 60))
        try:
            stream = await engine.chat(
                choose.choice(models), (ChatTurn("user", words),), options, client=name
            )
        except EngineError:
            await asyncio.sleep(0.05)
            continue
        account.asked += 1
        ends = []
        async with asyncio.timeout(60):
            async for item in stream:
                if isinstance(item, ChatEnd):
                    ends.append(item)
                elif choose.random() < 0.002:
                    stream.cancel()
        account.unended += not ends
        account.doubly += len(ends) > 1
        for end in ends[:1]:
            account.ends[end.decision.code.value if end.decision else end.reason] += 1


async def _saboteur(engine: Engine, until: float, seed: int) -> None:
    choose = random.Random(seed)
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        await asyncio.sleep(choose.uniform(0.1, 0.6))
        pids = [m.pid for m in engine.snapshot().models if m.pid is not None]
        if pids:
            try:
                os.kill(choose.choice(pids), choose.choice(SIGNALS))
            except ProcessLookupError:
                continue


def _rows(home: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((home / "compatibility-registry.json").read_text())
    return rows


async def run(seconds: float, seed: int, folder: Path) -> Account:
    """Run for so long and tell what came of it."""
    account, me = Account(), psutil.Process()
    engine = _open(folder)
    await engine.start()
    for model in (*SCRIPTS, STARTER):
        await engine.load(model, actor="fault run", wait=True)
    account.descriptors = (me.num_fds(), 0)
    account.resident_mb = (me.memory_info().rss / 1e6, 0.0)
    until = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(
        _saboteur(engine, until, seed),
        *(_client(engine, f"client-{n}", until, account, seed + n) for n in range(CLIENTS)),
    )
    account.descriptors = (account.descriptors[0], me.num_fds())
    account.resident_mb = (account.resident_mb[0], me.memory_info().rss / 1e6)
    deaths = [e for e in engine.events() if e.kind == "worker_died"]
    await engine.stop()
    written = [json.loads(line) for line in (folder / "home/events.jsonl").read_text().splitlines()]
    account.deaths = sum(event["kind"] == "worker_died" for event in written)
    assert len(deaths) <= account.deaths
    rows = _rows(folder / "home")
    account.strike_rows = sum(row["metadata"]["event"] == "strike" for row in rows)
    account.orphans = len(workers_below(psutil.Process()))
    states = {model.id: model.readiness for model in engine.snapshot().models}
    assert Readiness.QUARANTINED not in states.values(), states
    return account


def main() -> int:
    """Run from the command line; returns 1 when anything was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmx-faults-") as folder:
        account = asyncio.run(run(asked.seconds, asked.seed, Path(folder)))
    print(account)
    return 0 if account.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())

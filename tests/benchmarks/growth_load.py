"""What happens to the console while its growth is watched: clients stream, models are loaded,
crash, fail their canary, are released and unloaded, and somebody walks through every screen.

All of it together is kept small, about 50 tokens a second and one load in half a minute: a run
takes two hours beside whatever else the machine does.
"""

import asyncio
import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.load_client import ask_all
from tests.console.pty.conftest import Terminal, write_simulated

STEADY, CRASHER, LIAR, GUESTS = "aa-steady", "bb-crasher", "cc-liar", ("dd-guest", "ee-guest")
TALKERS, TOKENS = 3, (80, 240)
SPEED = 16
"""Tokens a second of one stream."""
TRAFFIC_S, COMING_S, KEY_S = 10.0, 30.0, 7.0
"""Seconds between two polls by clients, two operations on a model, two walks through a screen."""
ESC = "\x1b"
WALKS = (
    ("L", "jjjk", "/", "load\r", ESC, ESC),
    ("R", "jjjk", "s", ESC),
    ("i", "jk", ESC),
    ("?", "jjj", ESC),
    (":", "log", ESC),
    ("g", "\r", "jjj", ESC),
    ("g", "e", ESC),
    ("/", "guest", ESC, ESC),
    ("s", "s", "s"),
    ("2", "3", "4", "1"),
    ("G", "l", ESC),
    ("g", "u", ESC),
    (" ", " "),
    ("\x1b[15~",),
    ("g", "c", "hello there\r", "", "", ESC, ESC),
)
"""Keys pressed one after another, each sent when the one before has had time to paint."""
SIZES = ((120, 36), (80, 24), (160, 45))


def write_models(folder: Path) -> None:
    """The models of a run."""
    talk = {"tokens_per_second": SPEED, "say": [" one", " two", " three\n"], "context": 65536}
    write_simulated(folder, STEADY, **talk)
    write_simulated(folder, CRASHER, faults=[{"when": "token", "after": 40, "do": "segv"}], **talk)
    write_simulated(folder, LIAR, faults=[{"when": "canary", "do": "nan"}])
    for name in GUESTS:
        write_simulated(folder, name, load_seconds=2, **talk)


class Load:
    """Everything that is done to one console.

    Args:
        port: Where its API answers.
        pace: How much faster than usual things are done.
        seed: Decides the order of things.
    """

    def __init__(self, terminal: Terminal, port: int, pace: float = 1.0, seed: int = 1) -> None:
        self.done: Counter[str] = Counter()
        """How often what was done."""
        self._terminal = terminal
        self._port = port
        self._pace = pace
        self._choose = random.Random(seed)
        self._number = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(TALKERS):
                group.create_task(self._talk())
            group.create_task(self._poll())
            group.create_task(self._operate())
            group.create_task(self._walk())

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._pace)

    async def _talk(self) -> None:
        """One client after another, each with a name and words of its own; one in six hangs up."""
        while True:
            self._number += 1
            tokens = self._choose.randint(*TOKENS)
            asking = ask_all(self._port, STEADY, [f"tale {self._number}"], tokens)
            if self._choose.random() < 1 / 6:
                with suppress(TimeoutError):
                    await asyncio.wait_for(asking, tokens / SPEED / 2)
                self.done["hung up"] += 1
                continue
            told = await asking
            self.done["tokens"] += told.tokens
            self.done["answers"] += 1
            if not told.tokens:
                await asyncio.sleep(1)

    async def _poll(self) -> None:
        """What a dashboard, a scraper and a client of the event feed ask for."""
        paths = ("/admin/status", "/metrics", "/v1/models", "/admin/models", "/admin/requests")
        while True:
            path = self._choose.choice(paths)
            await self._ask("GET", path, client=f"poller-{self._number}")
            if self._choose.random() < 0.3:
                await asyncio.to_thread(self._follow, 3)
            await self._rest(TRAFFIC_S)

    async def _operate(self) -> None:
        """Models come and go; whatever is refused is part of it."""
        await self._order("load", STEADY)
        while True:
            model = self._choose.choice((CRASHER, CRASHER, LIAR, *GUESTS))
            if model in GUESTS:
                await self._order("load", model)
                await self._rest(COMING_S / 2)
                await self._order("unload", model)
            elif not await self._order("load", model):
                await self._order("release", model, early=True)
            if model == CRASHER:
                self._number += 1
                await ask_all(self._port, CRASHER, [f"poison {self._number}"], 60)
                self.done["crashes asked for"] += 1
            await self._rest(COMING_S / 2)

    async def _order(self, what: str, model: str, **more: bool) -> bool:
        self.done[what] += 1
        return await self._ask("POST", f"/admin/models/{what}", {"model_id": model} | more)

    async def _walk(self) -> None:
        """Keys, and a window that changes its size now and then."""
        while True:
            await self._rest(KEY_S)
            for keys in self._choose.choice(WALKS):
                self._terminal.send(keys)
                await asyncio.sleep(0.6)
            self.done["walks"] += 1
            if self._choose.random() < 0.1:
                self._terminal.resize(*self._choose.choice(SIZES))

    async def _ask(self, method: str, path: str, body: Any = None, client: str = "") -> bool:
        def ask() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
            headers = {"Content-Type": "application/json"} | ({"X-Client-ID": client or "bench"})
            try:
                connection.request(method, path, body and json.dumps(body), headers)
                answer = connection.getresponse()
                answer.read()
                return answer.status < 400
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()

        return await asyncio.to_thread(ask)

    def _follow(self, seconds: float) -> None:
        """Listen to the events for so long, then go without a word."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/admin/events")
            connection.getresponse().read(1 << 20)
        connection.close()
        self.done["feeds"] += 1


def in_background(load: Load) -> Callable[[], None]:
    """Run a load in a thread of its own; returns what ends it, and raises what broke it."""
    loop = asyncio.new_event_loop()
    broken: list[BaseException] = []
    work = loop.create_task(load.run())

    def drive() -> None:
        try:
            loop.run_until_complete(work)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            broken.append(error)

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()

    def end() -> None:
        loop.call_soon_threadsafe(work.cancel)
        thread.join(30)
        if broken:
            raise broken[0]

    return end

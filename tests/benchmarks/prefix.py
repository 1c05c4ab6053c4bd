"""Time to first token of a chat with a system prompt of 1,000 tokens: its first question (cold),
its second, and the first of another chat with the same system prompt (both warm), against
``llama-server``, which keeps prompts too.

Run with ``python -m tests.benchmarks.prefix``. Every round has a system prompt of its own. Bars: a
warm first token in at most a quarter of a cold one's time, and cold and warm no later than
``llama-server``'s.
"""

import asyncio
import os
import sys

from engine import Backend
from tests.benchmarks import llama_server
from tests.benchmarks.load_client import listen
from tests.benchmarks.own_server import serving
from tests.benchmarks.report import Report, at_most
from tests.benchmarks.starter_run import STARTERS

TAKES_S = 90
ROUNDS = 5
NUMBERS = 250
"""Each is four tokens of the starter's, with its comma."""
TOKENS = 16
CONTEXT = 4096
COLD, SECOND, OTHER = "first question", "second turn", "another chat"
OURS = "opta-lmx"


def system(number: int) -> dict[str, str]:
    """A system prompt of 1,000 tokens that begins like no other round's."""
    told = ", ".join(str((number * 131 + n * 7) % 900 + 100) for n in range(NUMBERS))
    return {"role": "system", "content": f"You know these numbers: {told}."}


async def first_tokens(port: int, model: str, number: int) -> dict[str, float]:
    """Milliseconds to the first token of the three questions."""
    question = {"role": "user", "content": "Which of them is the largest?"}
    answer = {"role": "assistant", "content": "The largest of them is not hard to find."}
    again = {"role": "user", "content": "And the smallest?"}
    chats = {
        COLD: [system(number), question],
        SECOND: [system(number), question, answer, again],
        OTHER: [system(number), {"role": "user", "content": "Tell me a story instead."}],
    }
    found = {}
    for name, messages in chats.items():
        body = {"model": model, "messages": messages, "max_tokens": TOKENS, "temperature": 0}
        found[name] = (await listen(port, "/v1/chat/completions", body))[0] * 1e3
    return found


async def measure(report: Report) -> None:
    """Ask both sides in turn and tell."""
    threads = os.cpu_count() or 1
    settings = {"slots": 4, "threads": threads, "context": CONTEXT}
    async with (
        serving(STARTERS[Backend.GGUF], **settings) as ours,
        llama_server.beside(ours.path, **settings) as peer,
    ):
        ports = {OURS: ours.port} | ({llama_server.NAME: peer.port} if peer else {})
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
        for number in range(ROUNDS):
            for name in list(ports)[:: 1 if number % 2 else -1]:
                rounds[name].append(await first_tokens(ports[name], ours.model, number))
    told = {
        name: {what: [one[what] for one in rounds[name]] for what in (COLD, SECOND, OTHER)}
        for name in ports
    }
    mine = told[OURS]
    for what in (SECOND, OTHER):
        share = [warm / cold for warm, cold in zip(mine[what], mine[COLD], strict=True)]
        report.tell(f"{what}, share of a cold one", share, bar=at_most(0.25))
    if not peer:
        print(f"{llama_server.NAME}: not here, left out")
        return
    for what, theirs in told[llama_server.NAME].items():
        report.tell(
            f"{what}, first token", mine[what], "ms", theirs, llama_server.NAME, bar=at_most(1.0)
        )


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    report = Report()
    asyncio.run(measure(report))
    return report.status


if __name__ == "__main__":
    sys.exit(main())

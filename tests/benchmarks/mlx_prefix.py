"""The same as ``tests.benchmarks.prefix`` on the MLX starter: time to first token of a chat's first
question (cold), its second, another chat with the same system prompt and the first chat's third
turn (all warm), against ``mlx_lm.server``, which keeps prompts too.

Run with ``python -m tests.benchmarks.mlx_prefix``. MLX reads some eight tokens a second on a CPU,
so the system prompt has 160. Bar: a warm first token in at most a quarter of a cold one's time.
There is none beside ``mlx_lm.server``, which reads a prompt in one go where we read it in pieces of
a second each, so that a cancel and the streams get their turn: 9 % more processor time for 64
tokens in pieces of 8, 13 % in pieces of 4.
"""

import sys

from tests.benchmarks.mlx_decode import MODEL, SERVER, mlx_server
from tests.benchmarks.own_server import serving
from tests.benchmarks.prefix import OURS, tell, turns
from tests.benchmarks.report import Report, reported

TAKES_S = 300
ROUNDS = 3
NUMBERS = 40
"""Each is four tokens of the starter's, with its comma."""
TOKENS = 2
CONTEXT = 512


async def measure(report: Report) -> None:
    """Ask both sides in turn and tell."""
    async with (
        serving(MODEL, slots=4, context=CONTEXT) as ours,
        mlx_server(ours.path) as peer,
    ):
        sides = {OURS: (ours.port, ours.model), SERVER: (peer.port, "default_model")}
        tell(report, await turns(sides, ROUNDS, numbers=NUMBERS, tokens=TOKENS), SERVER)


def main() -> int:
    """Measure, print, and return 1 when a bar is missed."""
    return reported(measure)


if __name__ == "__main__":
    sys.exit(main())

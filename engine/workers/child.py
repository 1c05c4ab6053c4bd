"""The worker process: one backend, one model, one socket to its parent.

Run as ``python -P -m engine.workers.child --backend gguf --fd 5 --parent 4711``. It prints nothing
but evidence, on standard error, and ends with one of the statuses below or by a signal.
"""

import argparse
import faulthandler
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import cast

from engine.backends.base import ModelBackend
from engine.types import Backend
from engine.workers import lifeline
from engine.workers.channel import Channel, ChannelClosed
from engine.workers.loop import Loop, StepFailed
from engine.workers.placement import Seat
from engine.workers.protocol import ProtocolError
from engine.workers.rank import OutOfStep, RankChannel

# Statuses as in sysexits.h, so that none is mistaken for a shell's or an interpreter's.
STOPPED = 0
"""The parent asked for it."""
NO_BACKEND = 69
"""The backend cannot be imported; standard error says why."""
BROKEN = 70
"""A step failed in Python; the requests in flight were told, standard error has the traceback."""
ORPHANED = 74
"""The socket closed or the parent is gone."""
GARBLED = 76
"""The parent sent something that is no frame, or made no sense."""

_WHERE = {
    Backend.GGUF: ("engine.backends.gguf", "GgufBackend"),
    Backend.MLX: ("engine.backends.mlx", "MlxBackend"),
}


def _make(
    kind: Backend, connection: socket.socket, seat: Seat | None
) -> tuple[Channel, ModelBackend, Callable[[], None] | None]:
    """The way to the parent, the backend, and what it wants called when idle. Imports it: no
    model yet."""
    if kind is Backend.SIMULATED:
        from engine.backends.simulated import SimulatedBackend

        channel = RankChannel(connection, seat.rank, None) if seat else Channel(connection)
        simulated = SimulatedBackend(channel.send_bytes, seat=seat)
        return channel, simulated, simulated.idle
    if seat is not None:
        from engine.backends.mlx import MlxBackend
        from engine.backends.mlx_ring import Ring

        ring = Ring(seat)
        return RankChannel(connection, seat.rank, ring), MlxBackend(ring=ring), None
    module, name = _WHERE[kind]
    made = cast("ModelBackend", getattr(importlib.import_module(module), name)())
    return Channel(connection), made, None


def serve(kind: Backend, connection: socket.socket, seat: Seat | None = None) -> int:
    """Serve the parent at the other end until one of both ends; returns the exit status.

    Args:
        seat: Which of several processes this is, where several hold the model.
    """
    try:
        channel, backend, idle = _make(kind, connection, seat)
    except Exception:  # an interpreter without the backend, or a broken one: ends before Hello
        traceback.print_exc()
        return NO_BACKEND
    try:
        Loop(channel, backend, kind, idle=idle).run()
    except ChannelClosed:
        return ORPHANED
    except ProtocolError as error:
        sys.stderr.write(f"protocol: {error}\n")
        return GARBLED
    except OutOfStep as error:
        sys.stderr.write(f"{error}\n")
        return BROKEN
    except StepFailed:
        return BROKEN
    return STOPPED


def _seat(arguments: argparse.Namespace) -> Seat | None:
    if arguments.ranks == 1:
        return None
    ring = tuple(arguments.ring.split(",")) if arguments.ring else ()
    return Seat(arguments.rank, arguments.ranks, ring)


def main() -> None:
    """Confine this process, tie it to its parent and serve."""
    parser = argparse.ArgumentParser(prog="engine.workers.child")
    parser.add_argument("--backend", type=Backend, required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--ring", default="", help="HOST:PORT of each rank, in order")
    arguments = parser.parse_args()
    lifeline.refuse_core()
    lifeline.settle_signals()
    lifeline.silence_stdout()
    # On a fatal signal it prints where Python was and lets the signal kill as before.
    faulthandler.enable(all_threads=False)
    connection = socket.socket(fileno=arguments.fd)
    connection.set_inheritable(False)
    lifeline.tie_to(arguments.parent, connection, ORPHANED)
    status = serve(arguments.backend, connection, _seat(arguments))
    # Native libraries have threads and destructors that crash at a normal exit; nothing here
    # needs one.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()

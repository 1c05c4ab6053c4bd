"""What keeps Ray off the terminal, and off the signals, of a process that joins a cluster."""

import faulthandler
import logging
import os
import signal
import sys
import threading
from contextlib import suppress

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def before_import() -> None:
    """Call it before Ray is imported: it reads its environment once."""
    # Started by `uv run`, Ray would have every host build this environment anew.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # What it has to say of a node that died it prints on standard output, whatever it is told of
    # logging; it skips lines that match.
    os.environ |= {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
    # Where nobody has, it has faults told on sys.stderr, which is no file under a screen.
    if not faulthandler.is_enabled():
        with suppress(AttributeError, OSError, RuntimeError, ValueError):
            faulthandler.enable(sys.__stderr__ or sys.stderr, all_threads=False)


def after_import() -> None:
    """Call it once Ray is imported: then it has set up its log."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def take_back_signals() -> None:
    """Call it once Ray is initialised: its own handlers print the stack at a signal that only says
    that it is time to end. Does nothing off the main thread, which alone may."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _OURS:
        if (handler := signal.getsignal(number)) is not None:
            signal.signal(number, handler)
            signal.siginterrupt(number, False)

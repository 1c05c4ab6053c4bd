"""What keeps a worker from outliving its parent, from dumping core and from printing on frames."""

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import threading

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_WATCH_S = 1.0


def refuse_core() -> None:
    """Never write a core: a model's worker may hold hundreds of gigabytes."""
    # Linux ignores a limit of 0 where cores are piped to a handler, and takes 1 as "none at all"
    # (fs/coredump.c); elsewhere a limit of 1 byte is too little for any core.
    for limit in (1, 0):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
            break
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 1:
        _prctl(_PR_SET_DUMPABLE, 0)


def settle_signals() -> None:
    """TERM ends the worker at once, the terminal's ctrl+c does not, whatever was inherited."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def silence_stdout() -> None:
    """Send standard output to standard error, so that native prints become evidence."""
    sys.stdout.flush()
    os.dup2(2, 1)


def tie_to(parent: int, connection: socket.socket, status: int) -> None:
    """Make the worker end when its parent does, also inside a native call that never returns.

    On Linux the kernel kills it with the thread that spawned it; everywhere a thread watches for
    the socket's end and for a new parent.

    Args:
        parent: Process id of the parent.
        status: Exit status of an orphan.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(status)
    threading.Thread(
        target=_watch, args=(parent, connection, status), name="lifeline", daemon=True
    ).start()


def _watch(parent: int, connection: socket.socket, status: int) -> None:
    poller = select.poll()
    poller.register(connection, 0)  # no event asked for: only hang-up and error are told
    while not poller.poll(_WATCH_S * 1000) and os.getppid() == parent:
        pass
    os._exit(status)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = os.strerror(ctypes.get_errno())
        sys.stderr.write(f"prctl({option}, {value}): {error}\n")

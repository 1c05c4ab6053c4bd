"""Workers as processes of this machine: spawned clean, reached over a socket, never orphaned."""

import asyncio
import contextlib
import os
import socket
import sys

from engine.workers.entrance import command, path_for
from engine.workers.exits import memory_kills
from engine.workers.placement import Connection, Ending, Seat, Spawn, SpawnError

STDERR_TAIL = 64 * 1024
"""Bytes of standard error kept as evidence."""
_CHUNK = 64 * 1024
_STDERR_PATIENCE_S = 0.25
# What a backend may need of the operator's environment. No key or token is among it: a parser bug
# in a native library must not find secrets in the worker's memory (CVE-2026-7482).
_KEPT = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH"),
    # What a worker imports nobody else does, and uv compiles nothing when it installs: one that
    # kept no bytecode compiled mlx-lm and transformers at every load, for 0.8 of 2 s (measured).
    # So a worker keeps it, unless the operator wishes it kept elsewhere or not at all.
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)
_KEPT_PREFIXES = (
    "DYLD_",
    "CUDA_",
    "HIP_",
    "ROCR_",
    "METAL_",
    "MTL_",
    "MLX_",
    "GGML_",
    "OMP_",
    "GOMP_",
)
_SET = {
    "GGML_NO_BACKTRACE": "1",  # or ggml starts a debugger on abort
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
_TUNABLES = "GLIBC_TUNABLES"
_LARGE_PAGES = "glibc.malloc.hugetlb=1"
# The C library then asks for large pages for what is large, as a cache is: llama.cpp clears 106 MB
# of it in half the time (measured, 26,000 pages of 4 KiB). Other C libraries do not read it.


def worker_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment a worker gets: an allow-list of ``environment`` plus what it must have."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    tuned = ":".join(filter(None, (_LARGE_PAGES, environment.get(_TUNABLES))))
    return kept | _SET | {_TUNABLES: tuned}


class LocalProcess:
    """One worker process and the socket to it."""

    host = ""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: socket.socket,
        stderr: asyncio.StreamReader,
    ) -> None:
        self._process = process
        self._stderr = stderr
        self._channel = channel
        self._arrived: asyncio.Future[bytes] | None = None
        self._listening = self._hung_up = False
        self._tail = bytearray()
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._memory_kills = memory_kills()
        self.pid = process.pid
        self._drain = asyncio.create_task(self._drain_stderr(), name=f"stderr-{self.pid}")
        self._writer = asyncio.create_task(self._write(), name=f"writer-{self.pid}")

    async def _drain_stderr(self) -> None:
        while data := await self._stderr.read(_CHUNK):
            self._tail += data
            del self._tail[:-STDERR_TAIL]

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                await loop.sock_sendall(self._channel, await self._outbox.get())

    @property
    def cut(self) -> bool:
        """Never: it is this machine."""
        return False

    async def receive(self) -> bytes:
        """The next bytes from the worker; empty at its end."""
        if self._hung_up:
            return b""
        loop = asyncio.get_running_loop()
        # Listening goes on from one read to the next: sock_recv would begin and end it each time,
        # which costs more than all that a token is otherwise.
        self._arrived = loop.create_future()
        if not self._listening:
            self._listening = True
            loop.add_reader(self._channel, self._read)
        return await self._arrived

    def _read(self) -> None:
        if self._arrived is None or self._arrived.done():
            self._deafen()  # nobody waits: what a worker floods stays in the socket
            return
        try:
            data = self._channel.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._hung_up = True
            self._deafen()
        self._arrived.set_result(data)

    def _deafen(self) -> None:
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._channel)

    def send(self, data: bytes) -> None:
        """Queue bytes for the worker."""
        self._outbox.put_nowait(data)

    def kill(self, signal_number: int) -> None:
        """Send a signal, also to a worker that is stopped."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal_number)

    async def wait(self) -> Ending:
        """Wait for the process's end."""
        status = await self._process.wait()
        # macOS does not count its memory kills; there an unexplained SIGKILL is jetsam's.
        struck = sys.platform == "darwin" or memory_kills() > self._memory_kills
        return Ending(status, memory_killer=struck)

    async def stderr_tail(self) -> bytes:
        """The last of standard error; waits briefly for what is still in the pipe."""
        # A grandchild may hold the pipe open for ever, hence the bound.
        await asyncio.wait({self._drain}, timeout=_STDERR_PATIENCE_S)
        return bytes(self._tail)

    def hang_up(self) -> None:
        """Read no further than what has arrived."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket and stop listening."""
        self._writer.cancel()
        self._drain.cancel()
        self._deafen()
        self._channel.close()
        # Nobody reads its pipe any more; left open, it would outlive the event loop and complain.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


class LocalPlacement:
    """Starts workers on this machine: ``engine.workers.child`` in the interpreter wanted."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = worker_environment(dict(environment or os.environ))

    async def start(self, spawn: Spawn) -> Connection:
        """Start a worker process.

        Raises:
            SpawnError: no process could be made of this interpreter.
        """
        ours, theirs = socket.socketpair()
        # A pipe of our own: asyncio's would keep ``wait`` waiting while a grandchild holds it.
        said, says = os.pipe()
        try:
            ours.setblocking(False)
            stderr = await _reader(said)
            process = await asyncio.create_subprocess_exec(
                *command(spawn.python, "engine.workers.child"),
                "--backend",
                spawn.backend.value,
                "--fd",
                str(theirs.fileno()),
                "--parent",
                str(os.getpid()),
                *_seated(spawn.seat),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=says,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env=self._environment | path_for(spawn.python),
            )
        except OSError as error:
            ours.close()
            raise SpawnError(f"{spawn.python} did not start: {error}") from error
        finally:
            theirs.close()
            os.close(says)
        return LocalProcess(process, ours, stderr)


def _seated(seat: Seat | None) -> list[str]:
    """The arguments that tell a process its rank, as the child reads them."""
    if seat is None:
        return []
    told = ["--rank", str(seat.rank), "--ranks", str(seat.ranks)]
    return [*told, "--ring", ",".join(seat.ring)] if seat.ring else told


async def _reader(descriptor: int) -> asyncio.StreamReader:
    """Read a pipe's end; it is closed when the reader is let go of or the pipe has ended."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader

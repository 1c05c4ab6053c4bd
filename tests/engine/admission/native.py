"""Loads each GGUF named on standard input in a forked child of its own, and tells how that ended.

Run as a program: llama.cpp is imported here and nowhere in the tests' own process. Prints
``path<TAB>end`` for each, where the end is ``loads``, ``refused``, ``hangs`` or a signal's name.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time

os.environ["GGML_NO_BACKTRACE"] = "1"

from llama_cpp import llama_cpp as native

TEXT = b"ab <0xFF> hello\n"
DEADLINE_S = 20.0


def run(path: str) -> int:
    """Load, tokenize, compute once and turn tokens into text. The child's exit status."""
    parameters = native.llama_model_default_params()
    parameters.use_extra_bufts = False  # as the backend where Intel's tiles are broken
    model = native.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        return 10
    options = native.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch, options.n_threads = 64, 32, 32, 1
    context = native.llama_init_from_model(model, options)
    if not context:
        return 11
    vocabulary = native.llama_model_get_vocab(model)
    tokens = (native.llama_token * 64)()
    count = native.llama_tokenize(vocabulary, TEXT, len(TEXT), tokens, 64, True, True)
    if count <= 0 or native.llama_decode(
        context, native.llama_batch_get_one(tokens, min(count, 20))
    ):
        return 12
    native.llama_get_logits_ith(context, -1)
    piece = ctypes.create_string_buffer(64)
    for token in range(min(native.llama_vocab_n_tokens(vocabulary), 300)):
        native.llama_token_to_piece(vocabulary, token, piece, 64, 0, True)
    return 0


def ended(path: str) -> str:
    """How a forked child that loads this file ends."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            status = run(path)
        except BaseException:
            status = 13
        os._exit(status)
    os.close(write)
    ready, _, _ = select.select([read], [], [], DEADLINE_S)
    os.close(read)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not ready:
        return "hangs"
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return "refused" if os.WEXITSTATUS(status) else "loads"


def main() -> None:
    """Judge every path on standard input."""
    native.llama_backend_init()
    for line in sys.stdin:
        path = line.rstrip("\n")
        began = time.monotonic()
        print(f"{path}\t{ended(path)}\t{time.monotonic() - began:.3f}", flush=True)


if __name__ == "__main__":
    main()

"""One GGUF model and its context in llama.cpp: tokens in, logits out, memory by sequence.

The low-level API, because the library's own ``Llama`` class runs one sequence at a time.
"""

import collections
import ctypes
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.backends.base import LoadError

# How often a thread of GNU OpenMP looks before it sleeps at a barrier; read when the library is
# loaded. By default it spins for milliseconds, a thousand times a token, while the thread it waits
# for has lost its core: with one other busy process on 2 cores decode fell from 76 to 4 tokens/s.
# So it keeps 30, and loses 4 to 14 % of the speed on an idle machine (measured, starter model).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import llama_cpp.llama_cpp as native

BATCH = 512
"""Most tokens of one decode: llama.cpp's default physical batch, where its prefill is fastest."""
PROBE_CELLS = 512
"""Cache cells set aside for the canary's questions, so that they never push a request out."""
OUTPUTS = 40
"""Most logit rows of one decode: the canary's passage is one batch with most vocabularies.
llama.cpp reserves a buffer of this many vocabularies: one for every token of a batch took 98 MiB
of 49,152 tokens' logits, 32 took 18 (measured)."""
_SEQUENCES = 31
"""Sequences that compute or are kept, unless there are more slots."""
MOST_SLOTS = 255
"""llama.cpp's limit of 256 sequences, less the one for probes."""
_FEW_KEPT = 8

_WARN, _CONTINUE = 3, 5  # ggml_log_level: NONE, DEBUG 1, INFO 2, WARN 3, ERROR 4, CONT 5
_complaints: collections.deque[str] = collections.deque(maxlen=8)
_last_level = 0


@native.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes | None, _user_data: int | None) -> None:
    """Pass warnings and errors to standard error as the bytes they are; the rest is chatter."""
    # The library's own callback decodes strictly and loses a line that is not UTF-8.
    global _last_level  # noqa: PLW0603 - CONT means "as the line before"
    if level != _CONTINUE:
        _last_level = level
    if _last_level < _WARN or not text:
        return
    os.write(2, text)
    if line := text.decode("utf-8", "backslashreplace").strip():
        _complaints.append(line)


def _tiles_are_broken() -> bool:
    """Whether this machine would take llama.cpp's path for Intel's matrix tiles (AMX).

    GCC drops the stores of its tile configuration as dead, and the first batch of two tokens dies
    of SIGSEGV in ``ggml_backend_amx_mul_mat`` (llama.cpp#26954, #20824; seen here with GCC 12).
    The library tells no build apart, so no tensor is laid out for tiles on a processor with them.
    """
    try:
        return b" amx_int8" in Path("/proc/cpuinfo").read_bytes()
    except OSError:
        return False


class Row(NamedTuple):
    """One token of a batch."""

    token: int
    position: int
    sequence: int
    output: bool
    """Whether its logits are wanted."""


class NativeModel:
    """A loaded model with a cache that all sequences share.

    Args:
        path: The GGUF file, or the first of its splits.
        context: Tokens one sequence may hold; cut to what the model was trained for.
        slots: How many sequences may compute at once, the probe's own not counted.
        threads: Threads of a decode.
        on_fraction: Called with the share of the weights read, from 0 to 1.

    Raises:
        LoadError: llama.cpp refused; its reason is in the text and on standard error.
    """

    def __init__(
        self,
        path: str,
        *,
        context: int,
        slots: int,
        threads: int,
        on_fraction: Callable[[float], None],
    ) -> None:
        self._context: Any = None
        self._batch: Any = None
        _complaints.clear()
        native.llama_log_set(_log, ctypes.c_void_p(0))
        native.llama_backend_init()
        self._model: Any = self._open(path, on_fraction)
        if not native.llama_model_has_decoder(self._model):
            self.close()
            raise LoadError("the model has no decoder: it is not a text generator")
        trained = int(native.llama_model_n_ctx_train(self._model))
        self.context = min(context, trained) if trained > 0 else context
        self.kept = self._worth_keeping(slots)
        """How many finished sequences may be kept beside those that compute."""
        self.sequences = slots + self.kept
        self._context = self._make_context(threads)
        if not self._context:
            self.close()
            raise LoadError(f"llama.cpp made no context: {' / '.join(_complaints) or 'no reason'}")
        self._memory: Any = native.llama_get_memory(self._context)
        if not native.llama_memory_can_shift(self._memory):
            self.kept = 0
        self._batch = native.llama_batch_init(BATCH, 0, 1)
        self._vocabulary: Any = native.llama_model_get_vocab(self._model)
        self.vocabulary = int(native.llama_vocab_n_tokens(self._vocabulary))
        self.bos = int(native.llama_vocab_bos(self._vocabulary))
        self.eos = int(native.llama_vocab_eos(self._vocabulary))
        self._opens_with_bos = bool(native.llama_vocab_get_add_bos(self._vocabulary))
        self._pieces: dict[int, bytes] = {}
        self._ends: tuple[int, ...] | None = None

    def _open(self, path: str, on_fraction: Callable[[float], None]) -> Any:
        @native.llama_progress_callback  # type: ignore[untyped-decorator]
        def report(fraction: float, _user_data: int | None) -> bool:
            on_fraction(fraction)
            return True

        parameters = native.llama_model_default_params()
        parameters.progress_callback = report
        parameters.use_extra_bufts = not _tiles_are_broken()
        model = native.llama_model_load_from_file(os.fsencode(path), parameters)
        if not model:
            reason = " / ".join(_complaints) or "no reason given"
            raise LoadError(f"llama.cpp did not load the file: {reason}")
        return model

    def _worth_keeping(self, slots: int) -> int:
        """0 where a sequence's beginning cannot be shared: a recurrent state is that of the last
        token only, and a sliding window has dropped what a shorter prompt would still see."""
        if (
            native.llama_model_is_recurrent(self._model)
            or native.llama_model_is_hybrid(self._model)
            or native.llama_model_n_swa(self._model)
        ):
            return 0
        # llama.cpp holds a row of logits ready for each sequence, and OUTPUTS rows anyway.
        return min(max(_SEQUENCES - slots, _FEW_KEPT), MOST_SLOTS - slots)

    def _make_context(self, threads: int) -> Any:
        parameters = native.llama_context_default_params()
        # One pool of cells for all sequences, as large as one full context: the memory a load was
        # admitted for. A sequence alone may fill it; the scheduler sees that several together fit.
        parameters.n_ctx = self.context + PROBE_CELLS
        parameters.kv_unified = True
        parameters.n_seq_max = self.sequences + 1
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_outputs_max = max(OUTPUTS, self.sequences + 1)
        # Where there is a sliding window, sequences are only ever dropped whole: it needs no
        # full-size cache.
        parameters.swa_full = False
        parameters.n_threads = parameters.n_threads_batch = threads
        return native.llama_init_from_model(self._model, parameters)

    @property
    def template(self) -> str | None:
        """The chat template's text, or None."""
        found = native.llama_model_chat_template(self._model, None)
        return found.decode("utf-8", "replace") if found else None

    @property
    def ends(self) -> tuple[int, ...]:
        """Every token that ends a generation."""
        if self._ends is None:
            ends, vocabulary = native.llama_vocab_is_eog, self._vocabulary
            self._ends = tuple(t for t in range(self.vocabulary) if ends(vocabulary, t))
        return self._ends

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return bool(native.llama_vocab_is_eog(self._vocabulary, token))

    def text_of(self, token: int) -> str:
        """A token's name in the vocabulary, such as ``<s>``; empty for no token."""
        if not 0 <= token < self.vocabulary:
            return ""
        name = native.llama_vocab_get_text(self._vocabulary, token)
        return name.decode("utf-8", "replace") if name else ""

    def knows(self, text: str) -> bool:
        """Whether this text is one token of the vocabulary, as it stands."""
        return any(self.text_of(token) == text for token in self.tokens(text, special=True))

    def tokens(self, text: str, *, special: bool, begin: bool = True) -> list[int]:
        """Tokenise.

        Args:
            special: For a prompt: read special tokens by their names, and begin as the model
                expects to (once, also where the template wrote the beginning itself).
            begin: Whether ``special`` means the beginning too.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            buffer = (native.llama_token * room)()
            count = native.llama_tokenize(
                self._vocabulary, data, len(data), buffer, room, False, special
            )
            if count >= 0:
                break
            room = -count
        found = list(buffer[:count])
        if special and begin and self._opens_with_bos and self.bos >= 0 and found[:1] != [self.bos]:
            found.insert(0, self.bos)
        return found

    def piece(self, token: int) -> bytes:
        """The bytes a generated token adds; control tokens add none, but for those shown."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        return self._pieces.setdefault(token, self._bytes(token, special=False))

    def show(self, names: Iterable[str]) -> None:
        """Let these control tokens be seen; a name that is no single token changes nothing."""
        for name in names:
            found = self.tokens(name, special=True, begin=False)
            if len(found) == 1:
                self._pieces[found[0]] = self.spell(found[0])

    def spell(self, token: int) -> bytes:
        """The bytes of a token, control tokens by their names."""
        return self._bytes(token, special=True)

    def _bytes(self, token: int, *, special: bool) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = native.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, special)
            if size >= 0:
                return buffer.raw[:size]
            room = -size

    def guide(self) -> Any:
        """llguidance's tokenizer of this vocabulary, good while the model is open.

        Raises:
            ImportError: this runtime has no llguidance.
        """
        from llguidance.llamacpp import lltokenizer_from_vocab

        with warnings.catch_warnings():
            # It asks for each token's attributes by a name llama_cpp deprecates, and says so.
            warnings.simplefilter("ignore", DeprecationWarning)
            return lltokenizer_from_vocab(self._vocabulary, eos_token=list(self.ends))

    def detokenise(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones by their names."""
        array = (native.llama_token * len(tokens))(*tokens)
        room = 16 * len(tokens) + 16
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = native.llama_detokenize(
                self._vocabulary, array, len(tokens), buffer, room, False, True
            )
            if size >= 0:
                return buffer.raw[:size].decode("utf-8", "replace")
            room = -size

    def decode(self, rows: Sequence[Row]) -> bool:
        """Evaluate up to ``BATCH`` rows. False when the cache has no room; nothing changed then.

        Raises:
            RuntimeError: llama.cpp failed; the state of the context is unknown.
        """
        batch = self._batch
        for index, row in enumerate(rows):
            batch.token[index] = row.token
            batch.pos[index] = row.position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = row.sequence
            batch.logits[index] = row.output
        batch.n_tokens = len(rows)
        code = native.llama_decode(self._context, batch)
        if code not in (0, 1):
            raise RuntimeError(f"llama_decode returned {code}: {' / '.join(_complaints)}")
        return bool(code == 0)

    def logits(self, output: int) -> npt.NDArray[np.float32]:
        """The logits of row ``output`` of the last decode; valid until the next one."""
        pointer = native.llama_get_logits_ith(self._context, output)
        return np.ctypeslib.as_array(pointer, (self.vocabulary,))

    def likeliest(self, output: int) -> int:
        """The token of the highest logit of row ``output``; the first of several."""
        return int(self.logits(output).argmax())

    @property
    def handle(self) -> Any:
        """The native context, for a sampler."""
        return self._context

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Let an empty sequence begin with the first tokens of another, in the same cells."""
        native.llama_memory_seq_cp(self._memory, source, target, 0, tokens)

    def forget(self, sequence: int) -> None:
        """Take a sequence out of its cells; those nobody else is in are free then."""
        native.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def close(self) -> None:
        """Free everything."""
        if self._batch is not None:
            native.llama_batch_free(self._batch)
        if self._context:
            native.llama_free(self._context)
        if self._model:
            native.llama_model_free(self._model)
        self._batch = self._context = self._model = None


def version() -> str:
    """The backend's version as the registry has it, and as the gate was told before the load.

    The package's own word for it may lack what a build for some device appends.
    """
    return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}"

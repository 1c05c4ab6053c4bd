"""A model folder in memory under MLX: built if it must be, then read in steps that can be told."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.backends import mlx_release
from engine.backends.base import LoadError, OnProgress, RequestError
from engine.backends.dialect import Dialect, Render, thinking, tool_format
from engine.backends.marks import marks
from engine.backends.mlx_piece import Spelling
from engine.backends.mlx_ring import Ring
from engine.backends.template import ChatTemplate
from engine.backends.turn import as_turns, free_names
from engine.workers.entrance import command
from engine.workers.protocol import Message

_STEPS = 50
"""How many steps of progress a load is told in, at most."""
_STEP_BYTES = 8 * 1024 * 1024
"""No step is smaller than this."""
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its tokenizer, all weights in memory."""

    model: Any
    tokenizer: Any
    """mlx-lm's wrapper around the one of transformers."""
    vocabulary: int
    context_trained: int | None
    dialect: Dialect
    spelling: Spelling
    """The bytes of a single token."""
    hidden: frozenset[int]
    """Control tokens, but for those an answer's calls and thinking are marked with."""
    coded: bool = False
    """Whether code renders its conversations, and no template's text."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Tokens of a text; with ``special`` framed as the model wants a sequence to begin."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return ids

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, exactly: nothing hidden, no space tidied away."""
        text: str = self.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def spell(self, tokens: list[int]) -> str:
        """The text of tokens as a reader gets it: control tokens add none, but for marks."""
        return self.decode([token for token in tokens if token not in self.hidden])

    def guide(self) -> Any:
        """llguidance's tokenizer of this vocabulary.

        Raises:
            ImportError: this runtime has no llguidance.
            ValueError: the tokenizer is not one of the tokenizers library.
        """
        from llguidance.hf import from_tokenizer

        inner = self.tokenizer._tokenizer  # noqa: SLF001 - see _template
        return from_tokenizer(inner, eos_token=sorted(self.ends))

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text."""
        return frozenset(self.tokenizer.eos_token_ids)


def load_folder(path: Path, on_progress: OnProgress, ring: Ring | None = None) -> LoadedModel:
    """Read a model folder without running anything in it.

    Args:
        ring: Where the ranks meet that the model is split among; this one keeps its part only.

    Raises:
        LoadError: the folder's path is not there.
        Exception: whatever mlx-lm or transformers say of a folder they cannot use; its text names
            the folder by ``path``.
    """
    from mlx_lm import utils

    if not path.is_dir():
        raise LoadError(f"No such file or directory: {path}")
    with _plain_name(path) as folder:
        try:
            # Lazy: names and shapes are checked here, and no weight is read before the loop below.
            model, config = mlx_release.load_model(folder)
            tokenizer = utils.load_tokenizer(
                folder,
                {"trust_remote_code": False},
                eos_token_ids=config.get("eos_token_id"),
            )
            _refuse_unbatchable(model, str(config.get("model_type")))
            if ring is not None:
                _split(model, ring, str(config.get("model_type")))
            _read_weights(model, on_progress)
        except Exception as error:
            if str(folder) not in str(error):
                raise
            text = str(error).replace(str(folder), str(path))
            raise LoadError(f"{type(error).__name__}: {text}") from error
    template = _template(tokenizer)
    text_config = config.get("text_config") or {}
    vocabulary = config.get("vocab_size") or text_config.get("vocab_size") or len(tokenizer)
    dialect = _dialect(tokenizer, template.render if template else _renderer(tokenizer))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        vocabulary=int(vocabulary),
        context_trained=_context_trained(config | text_config),
        spelling=Spelling(tokenizer),
        dialect=dialect,
        hidden=_control_tokens(tokenizer, shown=marks(dialect.tool_format, dialect.thinking)),
        coded=template is None,
    )


def _control_tokens(tokenizer: Any, shown: frozenset[str]) -> frozenset[int]:
    """What transformers would skip as special, without the shown ones."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {at for at, token in added.items() if token.special}
    special.update(tokenizer.all_special_ids)
    return frozenset(at for at in special if tokenizer.convert_ids_to_tokens(at) not in shown)


def _dialect(tokenizer: Any, render: Render | None) -> Dialect:
    template = tokenizer.chat_template
    source = template if isinstance(template, str) else None
    knows = tokenizer.get_vocab().__contains__
    # The checkpoint may say it itself; mlx-lm writes what it found into the same place.
    said = tokenizer.init_kwargs.get("tool_parser_type")
    return Dialect(
        render=render,
        tool_format=said if isinstance(said, str) else tool_format(source, knows),
        thinking=thinking(source, knows),
    )


@contextlib.contextmanager
def _plain_name(path: Path) -> Iterator[Path]:
    # mlx-lm looks for weights with a glob over the folder's path, where "[" and "*" mean more than
    # themselves; a link with a plain name in a plain place keeps them out of it.
    with tempfile.TemporaryDirectory(prefix="lmx-") as place:
        link = Path(place) / "model"
        link.symlink_to(path.absolute(), target_is_directory=True)
        yield link


def _read_weights(model: Any, on_progress: OnProgress) -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    arrays = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays) or 1
    step = max(total // _STEPS, _STEP_BYTES)
    done = 0
    group: list[Any] = []
    waiting = 0
    on_progress(0.0, "loading")
    for array in arrays:
        group.append(array)
        waiting += array.nbytes
        if waiting >= step:
            mx.eval(group)
            done += waiting
            group, waiting = [], 0
            on_progress(done / total, "loading")
    mx.eval(group)
    mx.eval(model.parameters())
    on_progress(1.0, "loading")


def _split(model: Any, ring: Ring, kind: str) -> None:
    """Leave of a lazy model the part of this rank, as mlx-lm's ``sharded_load`` does it; the rest
    of the weights is read from the disk and let go of, layer by layer."""
    if not hasattr(model, "shard"):
        raise LoadError(f"a model of type {kind} cannot be split among ranks")
    model.shard(ring.join())


def _refuse_unbatchable(model: Any, kind: str) -> None:
    from mlx_lm.models.cache import make_prompt_cache

    # mlx-lm's own server asks the same before it batches; Llama 4 is the one that cannot.
    for layer in make_prompt_cache(model):
        if not hasattr(layer, "merge"):
            name = type(layer).__name__
            raise LoadError(f"Model type {kind} not supported: its {name} cannot be batched")


def _context_trained(config: dict[str, Any]) -> int | None:
    # With scaled positions the number may be that of before the scaling: then it bounds nothing.
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") if isinstance(scaling, dict) else "other"
    limit = config.get("max_position_embeddings")
    return limit if isinstance(limit, int) and limit > 0 and kind in (None, "default") else None


def _template(tokenizer: Any) -> ChatTemplate | None:
    """The template's text, compiled when needed; None where there is none, or it is code."""
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    inner = tokenizer._tokenizer  # noqa: SLF001 - the wrapper offers no way to ask what it wraps
    own = getattr(type(inner), "apply_chat_template", None)
    coded = own is not PreTrainedTokenizerBase.apply_chat_template
    if not tokenizer.has_chat_template or coded or inner.chat_template is None:
        return None
    try:
        source = inner.get_chat_template()
    except ValueError:  # several named templates and none of them the default
        return None
    return ChatTemplate(source, bos=inner.bos_token or "", eos=inner.eos_token or "")


def _renderer(tokenizer: Any) -> Render | None:
    """Some models' templates are code that mlx-lm or transformers ship, with no text to run."""
    inner = tokenizer._tokenizer  # noqa: SLF001 - see above
    # Named templates without a default among them are none, not code.
    if not tokenizer.has_chat_template or isinstance(inner.chat_template, dict):
        return None

    def render(
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        opening: bool = True,
    ) -> str:
        def written(*, parsed: bool) -> str:
            return str(
                tokenizer.apply_chat_template(
                    as_turns(messages, parsed=parsed),
                    **free_names(options or {}),
                    tools=list(tools) or None,
                    tokenize=False,
                    add_generation_prompt=opening,
                )
            )

        try:
            try:
                return written(parsed=True)
            except TypeError:  # such code may read a call's arguments from their text itself
                return written(parsed=False)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise RequestError("template", f"chat template: {cause}") from error

    return render


def await_built(folder: Path) -> None:
    """Wait until another rank has built the starter; if it cannot, the parent ends this one."""
    while not (folder / "config.json").exists():
        time.sleep(_LOOK_S)


def ensure_built(gguf: Path, folder: Path, on_progress: OnProgress) -> None:
    """Build the MLX starter in a process of its own, unless it is there.

    The reader of GGUF and the memory it takes stay out of this process. The builder ends with it:
    its standard input closes then.

    Raises:
        LoadError: it cannot be built, for the reason the text gives.
    """
    if (folder / "config.json").exists():
        return
    last = ""
    on_progress(0.0, "building")
    with subprocess.Popen(
        [
            *command(sys.executable, "engine.backends.starter_build", door=True),
            str(gguf),
            str(folder),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as builder:
        for line in builder.stdout or ():
            word, _, rest = line.strip().partition(" ")
            if word == "progress":
                on_progress(float(rest), "building")
            elif word == "error":
                last = rest
    if builder.returncode:
        raise LoadError(last or f"the starter's builder ended with {builder.returncode}")

"""A model's own chat template, run in a sandbox: it came with the download and is not trusted.

Gives templates what the Hugging Face renderer gives them (``raise_exception``, ``strftime_now``,
``tojson``, loop controls, ``generation`` blocks) and nothing else. Time is bounded by the parent's
deadline, size here.
"""

import contextlib
import json
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.backends.base import RequestError
from engine.backends.turn import as_turns, free_names
from engine.workers.protocol import MAX_FRAME, Message

_ROOM = 512 * 1024 * 1024
"""Bytes a rendering may take: texts grow by doubling and by filters too, which no sandbox counts.
A conversation as long as a frame may be renders well within it."""
_MAX_REPEAT = 1_000_000
"""Longest text or list a template may make by multiplying; the sandbox bounds only ``range``."""


class _Refusal(Exception):
    """The template itself refused the conversation."""


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's words for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses attribute tricks, as its base does, and texts grown by multiplication."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        if operator == "**":
            raise jinja2.exceptions.SecurityError("templates may not raise to a power")
        for sequence, count in ((left, right), (right, left)):
            long = isinstance(sequence, str | bytes | list | tuple) and isinstance(count, int)
            if long and len(sequence) * count > _MAX_REPEAT:
                raise jinja2.exceptions.SecurityError("a template multiplied a text too far")
        return super().call_binop(context, operator, left, right)


def _refuse(message: str) -> str:
    raise _Refusal(message)


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    # Jinja's own filter escapes HTML, which would change what the model reads.
    options.setdefault("ensure_ascii", False)
    return json.dumps(value, indent=indent, **options)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Let this process grow by ``_ROOM`` at most, where the system tells its size (Linux)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        limit = pages * resource.getpagesize() + _ROOM
        if soft != resource.RLIM_INFINITY:
            limit = min(limit, soft)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError, IndexError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _joined(stream: Iterable[str]) -> str:
    pieces: list[str] = []
    size = 0
    for piece in stream:
        size += len(piece)
        if size > MAX_FRAME:
            _refuse(f"it renders more than {MAX_FRAME:,} characters")
        pieces.append(piece)
    return "".join(pieces)


class ChatTemplate:
    """A chat template, compiled at its first use.

    Args:
        source: The template's text, from the model's metadata.
        bos: The text of the token that begins a sequence, or empty.
        eos: The text of the token that ends one, or empty.
        now: The clock ``strftime_now`` reads.
    """

    def __init__(
        self,
        source: str,
        *,
        bos: str = "",
        eos: str = "",
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._now = now
        self._compiled: jinja2.Template | None = None

    def _compile(self) -> jinja2.Template:
        environment = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: self._now().strftime(form)
        return environment.from_string(self._source)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        opening: bool = True,
    ) -> str:
        """The prompt for a conversation.

        Args:
            tools: What the model may call, in OpenAI's form.
            options: Further names the template may read; they replace none of its own.
            opening: Whether to open the assistant's turn at the end.

        Raises:
            RequestError: the template is broken, was stopped by the sandbox, grew past the longest
                frame, or refused the messages. Its kind is ``template``.
        """
        try:
            with _bounded():
                if self._compiled is None:
                    self._compiled = self._compile()
                names = {
                    **free_names(options or {}),
                    "messages": as_turns(messages),
                    "add_generation_prompt": opening,
                    # None and not absent, as transformers has it: templates were written for that.
                    "tools": list(tools) or None,
                    **self._tokens,
                }
                stream = self._compiled.generate(names)
                return _joined(stream)
        except _Refusal as refusal:
            raise RequestError("template", f"chat template: {refusal}") from refusal
        except Exception as error:
            # A template can fail in any way its author's Python would: all are the template's.
            cause = f"{type(error).__name__}: {error}"
            raise RequestError("template", f"chat template: {cause}") from error


_ANSWER = "A plain answer"


def closing(render: Callable[..., str] | None, messages: Sequence[Message]) -> str | None:
    """What a template writes after an answer: what the model was trained to stop with.

    None where it cannot be told; a template that refuses or changes the answer is no fault here.
    """
    if render is None:
        return None
    answered = (*messages, Message(role="assistant", content=_ANSWER))
    try:
        _, found, after = render(answered, opening=False).rpartition(_ANSWER)
    except RequestError:
        return None
    return after if found else None

"""Holds an answer to a JSON schema, token by token, for both real backends.

llguidance computes which tokens may come next. llama.cpp's own grammar sampler will not do: it
throws C++ exceptions for what it cannot parse or has run out of, and one that reaches ctypes ends
the process; nor does it know MLX.
"""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.backends.base import RequestError

_MOST_TEXT = 64 * 1024
"""Characters of a schema. Nearly as long a one, of 3,000 properties, took 0.7 s to compile."""
_MOST_REMAINDERS = 10_000
"""The states a lexer may have for ``multipleOf``, which llguidance builds without counting: 9,973
took 0.04 s and 99,991 took 0.9 s, and 99,999,999 had not ended after 40 (measured, 1.9.1)."""
_OPTIONS = {
    # What it does not know must be refused, not passed over.
    "lenient": False,
    # Unbounded, a small model may write spaces until it reaches its cap.
    "whitespace_pattern": r" |\n[ ]{0,16}",
}


class Constraint:
    """One answer's way through its grammar.

    Args:
        matcher: llguidance's, at the start.
        after: Text that must have been written before the grammar begins, such as the end of a
            thinking that the prompt opened.
        spell: The bytes of a token.
    """

    def __init__(self, matcher: Any, after: str, spell: Callable[[int], bytes]) -> None:
        self._matcher = matcher
        self._after = after.encode()
        self._spell = spell
        self._seen = b""

    def allowed(self, width: int) -> npt.NDArray[np.bool_] | None:
        """Which of ``width`` tokens may come next; None where any may."""
        if self._after or self._matcher.is_stopped():
            return None
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, count=width, bitorder="little").view(np.bool_)
        # A step beyond the limits shows only now, and then the mask allows the end of all.
        return None if self._matcher.is_error() else mask

    def take(self, token: int) -> None:
        """Go on by the token that was drawn."""
        if not self._after:
            self._matcher.consume_token(token)
            return
        self._seen = self._seen[-len(self._after) :] + self._spell(token)
        if self._after in self._seen:
            self._after = b""

    @property
    def complete(self) -> bool:
        """Whether nothing more can be said."""
        return not self._after and bool(self._matcher.is_stopped())

    @property
    def trouble(self) -> str:
        """Why it can go on no more, or empty: the grammar outgrew llguidance's limits."""
        if not self._matcher.is_error():
            return ""
        return f"json_schema: {_first_line(self._matcher.get_error())}"


class Grammars:
    """Makes constraints for one model.

    Args:
        tokenizer: Makes llguidance's tokenizer of the model's vocabulary; called once, when it is
            first needed, and takes up to a second for a large one.
    """

    def __init__(self, tokenizer: Callable[[], Any]) -> None:
        self._make = tokenizer
        self._tokenizer: Any = None

    def constrain(self, schema: str | None, *, after: str = "") -> Constraint | None:
        """A constraint for one answer, or None for one that may be anything.

        Args:
            schema: JSON text, or None.
            after: As :class:`Constraint` has it.

        Raises:
            RequestError: the schema is none, too large, or beyond what llguidance supports, or the
                runtime has no llguidance. Its kind is ``invalid`` and it names ``json_schema``.
        """
        if schema is None:
            return None
        if _read(schema) is True:  # llguidance takes no options for it
            schema = "{}"
        try:
            from llguidance import LLMatcher, LLParserLimits
        except ImportError as error:
            raise _refusal(f"this runtime lacks llguidance ({error})") from error
        try:
            if self._tokenizer is None:
                self._tokenizer = self._make()
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=_OPTIONS)
            # Its own limits bound time and memory; the long errors would repeat the schema.
            limits = LLParserLimits(verbose_errors=False)
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
            if not matcher.is_error():
                # Some schemas show only at the first token that nothing fits them.
                matcher.compute_bitmask()
        except BaseException as error:
            # A panic of its Rust code is none of Exception.
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise _refusal(str(error)) from error
        if matcher.is_error():
            raise _refusal(matcher.get_error())
        tokenizer = self._tokenizer
        return Constraint(matcher, after, lambda token: bytes(tokenizer.decode_bytes([token])))

    def close(self) -> None:
        """Let go of the tokenizer, before the model whose vocabulary it reads."""
        self._tokenizer = None


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:200]}…"


def _refusal(reason: str) -> RequestError:
    return RequestError("invalid", f"json_schema: {_first_line(reason)}")


def _read(schema: str) -> dict[str, Any] | bool:
    """Read a schema and refuse what llguidance need not see.

    Raises:
        RequestError: as :meth:`Grammars.constrain` says.
    """
    if len(schema) > _MOST_TEXT:
        raise _refusal(f"{len(schema):,} characters; at most {_MOST_TEXT:,} are read")
    try:
        found = json.loads(schema, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise _refusal(f"not JSON ({error})") from error
    if not isinstance(found, dict | bool):
        raise _refusal("a schema is an object or a boolean")
    # Several divisors may meet in one number, whose states are then those of their multiple.
    states = 1
    rest: list[Any] = [found]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
            states = math.lcm(states, _remainders(value.get("multipleOf")))
        elif isinstance(value, list):
            rest.extend(value)
        if states > _MOST_REMAINDERS:
            raise _refusal(f"multipleOf needs more than {_MOST_REMAINDERS:,} states")
    return found


def _remainders(divisor: object) -> int:
    """How many remainders a division leaves, the point and zeros at the end not counted."""
    if isinstance(divisor, bool) or not isinstance(divisor, int | Decimal):
        return 1
    if isinstance(divisor, Decimal) and not divisor.is_finite():
        return 1
    digits = "".join(map(str, Decimal(divisor).as_tuple().digits)).rstrip("0")
    return int(digits or "1")

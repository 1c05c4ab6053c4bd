"""What an operator types into a dialog's small fields, and the values it stands for."""

import math
import re

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class FieldError(ValueError):
    """A field holds what it cannot; the message says what it takes."""


def tokens_of(text: str) -> int | None:
    """A number of tokens: ``8192``, ``8,192`` or ``8k``; None when empty.

    Raises:
        FieldError: anything else.
    """
    word = text.strip().lower().replace(",", "").replace("_", "")
    if not word:
        return None
    scale = 1024 if word.endswith("k") else 1
    digits = word.removesuffix("k").strip()
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9 or int(digits) == 0:
        raise FieldError("context takes a number of tokens, such as 8192 or 8k")
    return int(digits) * scale


def seconds_of(text: str) -> float | None:
    """A span: ``30`` or ``30m`` (minutes), ``90s``, ``2h``; None when empty or ``never``.

    Raises:
        FieldError: anything else.
    """
    word = text.strip().lower()
    if word in ("", "never"):
        return None
    match = _SPAN.fullmatch(word)
    if match is None or float(match[1]) <= 0 or len(match[1]) > 9:
        raise FieldError("keep-alive takes minutes, or a span such as 90s, 30m or 2h, or never")
    return float(match[1]) * _UNITS[match[2]]


def number_of(text: str, name: str, *, above: float = 0.0, most: float = 1e6) -> float | None:
    """A decimal number above ``above``, at most ``most``; None when empty.

    Raises:
        FieldError: anything else.
    """
    word = text.strip().replace(",", ".")
    if not word:
        return None
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and above < value <= most):
        raise FieldError(f"{name} takes a number above {above:g}, at most {most:,.0f}")
    return value

"""Cuts a block of markup into its elements, in one pass over the text.

The parsers' own patterns look for elements anywhere, which skips what they do not know and takes
quadratic time on a text of unclosed tags. What has passed through here has neither.
"""

import re
from collections.abc import Iterator
from itertools import cycle

MAX_HEAD = 512
"""Characters a name, an attribute or an id may have: far beyond the 64 of OpenAI's names."""

MAX_ELEMENTS = 512
"""Calls in a block, or arguments in a call (pairs count twice): no answer has nearly as many."""


class Malformed(ValueError):
    """This text is no call; it is shown as it was written."""


_SPACE = re.compile(r"\s*")


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def elements(text: str, *tags: tuple[str, str]) -> Iterator[str]:
    """What stands inside each element, from a text of elements and space and nothing else.

    Args:
        tags: The opening and closing text of an element; several alternate in this order and must
            come in full turns.

    Raises:
        Malformed: something else stands between, an element is not closed, a turn is broken, or
            there are more than ``MAX_ELEMENTS``.
    """
    at = _skip_space(text, 0)
    for number, (opening, closing) in enumerate(cycle(tags)):
        if at == len(text) and number % len(tags) == 0:
            return
        if number == MAX_ELEMENTS:
            raise Malformed("too many elements")
        if not text.startswith(opening, at):
            raise Malformed(f"expected {opening!r}")
        at += len(opening)
        end = text.find(closing, at)
        if end < 0:
            raise Malformed(f"{opening!r} is not closed")
        yield text[at:end]
        at = _skip_space(text, end + len(closing))


def head(text: str, end: str) -> tuple[str, str]:
    """The short text before ``end`` and all the text after it.

    Raises:
        Malformed: ``end`` is missing or comes late.
    """
    before, found, after = text.partition(end)
    if not found or len(before) > MAX_HEAD:
        raise Malformed(f"no {end!r} where one belongs")
    return before, after

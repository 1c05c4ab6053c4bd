"""The one sanitiser for anything a model, a file or a native library wrote.

Works on each character alone, so that a terminal sequence cut in two by streaming cannot slip
through as its halves would through a pattern that looks for whole sequences. What it returns holds
no control byte, no bidirectional override and no lone surrogate; it may still hold markup of some
screen library and must be shown as plain text.
"""

import unicodedata

TAB = "    "
# Categories that no terminal should be handed: controls, surrogates, private use, unassigned.
_REFUSED = frozenset({"Cc", "Cs", "Co", "Cn"})
# Format characters (Cf) reorder or hide text, except these two, which scripts and emoji need.
_JOINERS = frozenset("\u200c\u200d")
_SEPARATORS = frozenset("\u2028\u2029")


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # ESC becomes ␛, as in the Unicode control pictures
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{{{code:x}}}"


def _clean_character(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in _REFUSED or character in _SEPARATORS:
        return _visible(character)
    if category == "Cf" and character not in _JOINERS:
        return _visible(character)
    return character


def clean(text: str, *, limit: int | None = None) -> str:
    """Make text of any origin safe to show; newlines stay, tabs become spaces.

    Args:
        limit: Longest result in characters; a longer one is cut and ends in ``…``.
    """
    if text.isascii() and text.isprintable():
        cleaned = text
    else:
        text = text.replace("\r\n", "\n").replace("\t", TAB)
        cleaned = "".join(c if c == "\n" else _clean_character(c) for c in text)
    if limit is not None and len(cleaned) > limit:
        return cleaned[: max(limit - 1, 0)] + "…"
    return cleaned


def clean_line(text: str, *, limit: int | None = 400) -> str:
    """Make text safe and put it on one line: newlines become spaces."""
    return clean(text.replace("\r\n", " ").replace("\n", " "), limit=limit)


def clean_bytes(data: bytes, *, limit: int | None = None) -> str:
    """Make bytes of unknown encoding safe: UTF-8 where it is, ``\\xNN`` where it is not."""
    return clean(data.decode("utf-8", "backslashreplace"), limit=limit)

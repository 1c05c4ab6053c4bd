"""The console's own themes, dark and light, and what its colours fall back to elsewhere.

Blue and orange are the two poles, told apart by most colour-blind eyes; nothing is saturated that
is not asking for attention.
"""

from textual.theme import Theme

DARK = "lmx-dark"
LIGHT = "lmx-light"
ANSI = "ansi-dark"

_DARK_COLOURS = {
    "lmx-text": "#b9c2cc",
    "lmx-name": "#dfe5eb",
    "lmx-dim": "#6d7a88",
    "lmx-idle": "#7f8b98",
    "lmx-ok": "#6fb0e8",
    "lmx-busy": "#c9b36a",
    "lmx-proof": "#b39ddb",
    "lmx-warn": "#d9a45c",
    "lmx-bad": "#e8875a",
    "lmx-refused": "#c98a6b",
    "lmx-sim": "#8fa86b",
    "lmx-cursor": "#22303d",
    "lmx-line": "#2c3844",
    "lmx-line-focus": "#4a6076",
    "lmx-title": "#93a1af",
}
_LIGHT_COLOURS = {
    "lmx-text": "#333b44",
    "lmx-name": "#11161b",
    "lmx-dim": "#727d88",
    "lmx-idle": "#66717c",
    "lmx-ok": "#1767a8",
    "lmx-busy": "#7a6200",
    "lmx-proof": "#6a49a8",
    "lmx-warn": "#985c00",
    "lmx-bad": "#b5420f",
    "lmx-refused": "#944a22",
    "lmx-sim": "#4f6a1d",
    "lmx-cursor": "#d6e2ee",
    "lmx-line": "#c3ccd4",
    "lmx-line-focus": "#7f93a6",
    "lmx-title": "#4e5b67",
}
FALLBACK: dict[str, str] = {
    "lmx-text": "ansi_default",
    "lmx-name": "ansi_default",
    "lmx-dim": "ansi_default",
    "lmx-idle": "ansi_default",
    "lmx-ok": "ansi_blue",
    "lmx-busy": "ansi_cyan",
    "lmx-proof": "ansi_magenta",
    "lmx-warn": "ansi_yellow",
    "lmx-bad": "ansi_red",
    "lmx-refused": "ansi_yellow",
    "lmx-sim": "ansi_green",
    "lmx-cursor": "ansi_default",
    "lmx-line": "ansi_default",
    "lmx-line-focus": "ansi_blue",
    "lmx-title": "ansi_default",
}
"""For the terminal's own palette: sixteen colours and the attributes bold, dim and reverse."""

THEMES = (
    Theme(
        name=DARK,
        dark=True,
        primary="#6fb0e8",
        secondary="#93a1af",
        warning="#d9a45c",
        error="#e8875a",
        success="#6fb0e8",
        accent="#d9a45c",
        foreground="#b9c2cc",
        background="#0e1318",
        surface="#141b22",
        panel="#1a232c",
        variables=_DARK_COLOURS,
    ),
    Theme(
        name=LIGHT,
        dark=False,
        primary="#1767a8",
        secondary="#4e5b67",
        warning="#985c00",
        error="#b5420f",
        success="#1767a8",
        accent="#985c00",
        foreground="#333b44",
        background="#f7f8f9",
        surface="#eef1f3",
        panel="#e4e9ed",
        variables=_LIGHT_COLOURS,
    ),
)


def theme_name(wanted: str | None, *, no_color: bool) -> str:
    """The theme to start with: ``dark``, ``light``, ``ansi`` or any theme Textual knows.

    NO_COLOR wins: only the ansi theme can be shown without a single colour sequence.
    """
    if no_color:
        return ANSI
    short = {"dark": DARK, "light": LIGHT, "ansi": ANSI}
    return short.get(wanted or "dark", wanted or DARK)

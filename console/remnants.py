"""What Textual 8.2 keeps of widgets that are gone, and how the console lets go of it.

Over hours of screens opened and closed it is megabytes: the strips of the last 1,024 widgets, and
every text area there ever was.
"""

from functools import lru_cache

from textual._styles_cache import StylesCache
from textual.app import App
from textual.color import Color
from textual.style import Style


@lru_cache(1024)
def _backgrounds(base: Color, background: Color) -> tuple[Style, Style]:
    return Style(background=base + background), Style(background=base)


def share_backgrounds() -> None:
    """Remember two styles by their colours alone.

    Textual's own memory of them is keyed by the widget's cache of strips too, so that each of its
    1,024 entries keeps one, about 20 kB (``StylesCache.get_inner_outer``).
    """
    StylesCache.get_inner_outer = staticmethod(_backgrounds)  # type: ignore[assignment, method-assign]


def drop_watchers(app: App[None]) -> None:
    """Forget who watched the app and has ended.

    Textual does so when the watched attribute changes; a theme, which every text area watches,
    may never change.
    """
    for watchers in getattr(app, "__watchers", {}).values():
        watchers[:] = [(node, callback) for node, callback in watchers if node.is_running]

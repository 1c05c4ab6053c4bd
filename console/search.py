"""What the filter of the models asks for: words, and with ``host:NAME`` a host."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine import HostView, ModelView

HOST = "host:"


@dataclass(frozen=True, slots=True)
class Search:
    """A filter as it was typed, read."""

    words: tuple[str, ...] = ()
    """All of them are to be found; in lower case."""
    hosts: frozenset[str] | None = None
    """On one of these; None is anywhere."""
    unknown: tuple[str, ...] = ()
    """Names that no host bears."""

    def finds(self, model: ModelView, text: str) -> bool:
        """Whether it lets a model through.

        Args:
            text: What there is to find of it, in lower case.
        """
        if self.hosts is not None and model.host not in self.hosts:
            return False
        return all(word in text for word in self.words)


def search_of(typed: str, hosts: Sequence[HostView]) -> Search:
    """Read a filter.

    A name means the host that bears it; while it is being typed, every host it begins. Several
    names mean any of them. A name of none finds nothing.

    Args:
        hosts: Those there are.
    """
    words: list[str] = []
    asked: list[str] = []
    for word in typed.casefold().split():
        named = word.startswith(HOST)
        (asked if named else words).append(word.removeprefix(HOST) if named else word)
    if not asked:
        return Search(tuple(words))
    found: set[str] = set()
    unknown: list[str] = []
    for name in asked:
        names = _named(name, [host.name for host in hosts])
        found.update(names)
        if not names:
            unknown.append(name)
    return Search(tuple(words), frozenset(found), tuple(unknown))


def _named(wanted: str, names: Sequence[str]) -> list[str]:
    exact = [name for name in names if name.casefold() == wanted]
    return exact or [name for name in names if name.casefold().startswith(wanted)]

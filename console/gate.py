"""What becomes of keys that are typed before the one in front of them has done what it does."""

from collections.abc import Callable

from textual import events
from textual.message import Message

_ALWAYS = ("escape", "ctrl+c", "ctrl+q")
"""Ways out are never held."""
_MOST = 32
CHASE_S = 0.5
"""An esc whose chaser was lost with the widget it closed has long been dealt with by then."""


class Chaser(Message):
    """Goes the way of the esc before it, from the focus up to the app, and so arrives when that
    one has done what it does."""

    def __init__(self, ticket: int) -> None:
        super().__init__()
        self.ticket = ticket


def behind_escape(event: events.Event) -> events.Key | None:
    """The letter that came so close behind an esc that the two were read as alt and the letter.

    A slow line delivers them in one piece, and no key here is meant with alt. None for any other
    event.
    """
    if not isinstance(event, events.Key) or not event.key.startswith("alt+"):
        return None
    character = event.character or ""
    return events.Key(character, character) if len(character) == 1 else None


def is_escape(event: events.Event) -> bool:
    """Whether this is an esc on its way down, and not one that nobody wanted and comes back up."""
    return isinstance(event, events.Key) and event.key == "escape" and not event.is_forwarded


class KeyGate:
    """Holds keys while a dialog is on its way, or a screen is on its way out: they were meant for
    what comes then, not for what is in front now.

    Args:
        replay: Sends a held key on its way again.
    """

    def __init__(self, replay: Callable[[events.Key], object]) -> None:
        self._replay = replay
        self._held: list[events.Key] = []
        self._ticket = 0
        self.closed = False
        """Whether keys are held now."""

    def close(self) -> int:
        """A command was given that will open a dialog, or one that closes what is in front.

        Returns:
            A ticket: with it :meth:`open` opens only what was closed for this.
        """
        self.closed = True
        self._ticket += 1
        return self._ticket

    def takes(self, event: events.Event) -> bool:
        """Whether this event is a key and is held."""
        if not self.closed or not isinstance(event, events.Key) or event.key in _ALWAYS:
            return False
        self.hold(event)
        return True

    def hold(self, key: events.Key) -> None:
        """Keep a key until the gate opens."""
        if len(self._held) < _MOST:
            self._held.append(key)

    def open(self, *, drop: bool = False, ticket: int | None = None) -> int:
        """What the keys were held for is there, or will not come.

        Args:
            drop: Forget what was held, since a key typed blind may not decide.
            ticket: What it was closed for; by now it may be closed for something else.

        Returns:
            How many keys were held.
        """
        if ticket is not None and ticket != self._ticket:
            return 0
        held, self._held, self.closed = self._held, [], False
        if not drop:
            for key in held:
                self._replay(events.Key(key.key, key.character))
        return len(held)

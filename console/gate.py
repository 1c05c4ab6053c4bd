"""What becomes of keys typed between the press that opens a dialog and the dialog itself."""

from collections.abc import Callable

from textual import events

_ALWAYS = ("escape", "ctrl+c", "ctrl+q")
"""Ways out are never held."""
_MOST = 32


class KeyGate:
    """Holds keys while a dialog is on its way: they were meant for it, not for the screen below.

    Args:
        replay: Sends a held key on its way again.
    """

    def __init__(self, replay: Callable[[events.Key], object]) -> None:
        self._replay = replay
        self._held: list[events.Key] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether keys are held now."""
        return self._closed

    def close(self) -> None:
        """A command was given that will open a dialog."""
        self._closed = True

    def takes(self, event: events.Event) -> bool:
        """Whether this event is a key and is held."""
        if not self._closed or not isinstance(event, events.Key) or event.key in _ALWAYS:
            return False
        if len(self._held) < _MOST:
            self._held.append(event)
        return True

    def open(self, *, drop: bool = False) -> int:
        """The dialog is there, or there will be none.

        Args:
            drop: Forget what was held, since a key typed blind may not decide.

        Returns:
            How many keys were held.
        """
        held, self._held, self._closed = self._held, [], False
        if not drop:
            for key in held:
                self._replay(events.Key(key.key, key.character))
        return len(held)

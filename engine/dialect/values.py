"""Values kept aside while a parser reads the structure around them.

mlx-lm's parsers strip values, take ``null`` and numbers out of texts, and evaluate Python, each in
its own way. What they never see comes through as it was written, and the tool's schema decides
(``coercion``).
"""

from dataclasses import replace

from engine.dialect.calls import Call, calls_said


class Values:
    """Each value waits behind a short text that no parser takes for anything but a text."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def keep(self, value: str) -> str:
        """Its stand-in."""
        stand_in = f"@{len(self._kept)}"
        self._kept[stand_in] = value
        return stand_in

    def keep_line(self, value: str) -> str:
        """As ``keep``; one newline on either side belongs to the markup, not to the value."""
        return self.keep(value.removeprefix("\n").removesuffix("\n"))

    def _back(self, value: object) -> object:
        return self._kept.get(value, value) if isinstance(value, str) else value

    def restored(self, said: object, *, untyped: bool) -> tuple[Call, ...]:
        """The calls a parser returned, with their values.

        Args:
            untyped: Whether the values are texts for want of types.

        Raises:
            Malformed, ValueError: as ``calls_said``.
        """
        return tuple(
            replace(
                call,
                arguments={key: self._back(value) for key, value in call.arguments.items()},
                untyped=untyped,
            )
            for call in calls_said(said)
        )

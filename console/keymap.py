"""An operator's own keys, looked at before the screen opens: a name that is none, or a key two
commands of one screen would share, is told instead of being silently without effect."""

import difflib
from collections.abc import Mapping

from console.commands import BY_ID, commands_on, remapped


def complaint(keymap: Mapping[str, str]) -> str | None:
    """What is wrong with ``keymap`` (command id to keys), in one sentence; None if nothing is."""
    for name, keys in keymap.items():
        if name not in BY_ID:
            near = difflib.get_close_matches(name, BY_ID, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(BY_ID)}"
            return f"keymap names {name!r}, which is no command; {hint}"
        if not all(key.strip() for key in keys.split(",")):
            return f"keymap gives {name!r} an empty key"
    table = remapped(keymap)
    for where in sorted({place for command in table for place in command.where}):
        taken: dict[str, str] = {}
        for command in commands_on(where, table):
            for key in command.keys:
                other = taken.setdefault(key, command.id)
                if other != command.id:
                    return f"keymap: {key!r} would be both {other!r} and {command.id!r} in {where}"
    return None

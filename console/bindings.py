"""The command table as Textual bindings."""

from textual.binding import Binding, BindingType

from console.commands import commands_on


def bindings_for(where: str) -> list[BindingType]:
    """The bindings of one screen: each runs ``app.command(id)`` and can be remapped by its id."""
    return [
        Binding(
            command.key,
            f"app.command('{command.id}')",
            command.title,
            show=False,
            tooltip=command.help,
            id=command.id,
        )
        for command in commands_on(where)
    ]

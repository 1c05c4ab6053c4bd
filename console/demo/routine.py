"""What an operator does again and again: ask for a load, load, chat, go back to the list."""

from console.demo.beat import Act, Choose, Say, focus, gone, on, press, refused, shows

LIST, LOAD_DIALOG = on("DashboardScreen"), on("LoadDialog")
BACK = (press("escape"), LIST)


def ask(model_id: str) -> tuple[Act, ...]:
    """Open the load dialog and wait for the gate's advice."""
    return (Choose(model_id), press("l"), LOAD_DIALOG, gone("asking the gate"))


def turned_away(model_id: str) -> tuple[Act, ...]:
    """Ask for a load that is refused, and stay at the answer."""
    return (
        *ask(model_id),
        press("enter"),
        refused(model_id),
        shows("not loaded, refused"),
        gone("asking the gate"),
    )


def load(model_id: str) -> tuple[Act, ...]:
    """Load with the settings' values."""
    return (*ask(model_id), press("enter"), LIST)


def chat(question: str) -> tuple[Act, ...]:
    """Ask the selected model something."""
    return (press("c"), focus("composer"), Say(question), press("enter"))

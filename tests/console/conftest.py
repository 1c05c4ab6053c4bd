"""The same picture under any environment, and one platform that may change it."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.widgets import Input, TextArea

BASELINE = ("Linux", (3, 11))
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "TERM", "VIRTUAL_ENV", "TEXTUAL_SNAPSHOT_TEMPDIR")
KEPT_PREFIXES = ("LC_", "PYTHON", "PYTEST_", "COVERAGE_")
"""The snapshot report lists the whole environment: what is not needed is not there to leak."""


def pytest_configure(config: pytest.Config) -> None:
    """Snapshots are drawn on one platform only: elsewhere fonts of the mind differ."""
    updating = config.getoption("--snapshot-update", default=False)
    if updating and (platform.system(), sys.version_info[:2]) != BASELINE:
        raise pytest.UsageError("snapshots are updated on Linux with Python 3.11 only")


@pytest.fixture(autouse=True)
def still_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the caller's shell reaches the app under test."""
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(KEPT_PREFIXES):
            monkeypatch.delenv(name)
    # Read once, when Textual is imported: the variable alone may come too late.
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def still_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor that blinks would make two pictures of one screen."""
    for widget in (Input, TextArea):
        monkeypatch.setattr(widget, "_toggle_cursor", lambda _: None, raising=False)


@pytest.fixture
def console() -> Callable[..., Any]:
    """Build the app over an engine, with a clock that stands still: ``console(engine)``."""
    from console.app import LmxApp
    from tests.console.scripted import Clock

    def build(engine: Any, **options: Any) -> LmxApp:
        clock = options.pop("clock", None) or Clock()
        defaults = {"actor": "ops@local", "clock": clock, "monotonic": clock, "version": "0.0.0"}
        return LmxApp(engine=engine, **{**defaults, **options})

    return build

"""Where the home folder is, for those who need nothing else of the settings."""

import os
from pathlib import Path


def default_home() -> Path:
    """``LMX_HOME``, or ``~/.opta-lmx``."""
    return Path(os.environ.get("LMX_HOME") or Path.home() / ".opta-lmx").expanduser().absolute()

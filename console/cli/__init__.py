"""The ``lmx`` command, one noun per file. Nothing here imports Textual, and the engine is imported
only by the command that needs it: a script that asks ``lmx models`` a hundred times should not pay
for a screen a hundred times.
"""

from console.cli.command import main

__all__ = ["main"]

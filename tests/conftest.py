"""What holds for every test."""

import os

# Hundreds of processes are started here; each would compile all it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

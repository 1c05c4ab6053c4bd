"""Models and their lives: from admission to their end, and what upkeep they need."""

"""The home folder: who lives in it, what is kept there, and how it reaches the disk."""

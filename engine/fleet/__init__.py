"""The hosts an engine runs models on: its own, and those of a cluster it has joined."""

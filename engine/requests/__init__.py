"""Requests: where they come in, in which order they go, and what becomes of each."""

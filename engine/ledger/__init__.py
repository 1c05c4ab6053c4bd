"""The ledger on disk: its file, its rows, and their way to another host and back."""

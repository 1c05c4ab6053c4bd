"""An engine in another process: its face, spoken over the admin API."""

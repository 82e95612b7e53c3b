"""The ledgers: one protocol (`base`), and a backend a module. Nothing here knows what a run is."""

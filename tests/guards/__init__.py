"""Every promise has a guard, and every guard a test that fails without it.

`table.toml` is the list. `python -m tests.guards` takes one guard after another out of a copy of
the package and runs its test: `seen` if it fails, `NOT GUARDED` if nothing notices.
"""

"""The table of entries: every way in which a file of a user comes into the library.

A new reader is one row here, in the file of its kind.
"""

from __future__ import annotations

from tests.fuzz import command_entries, data_entries, weights_entries, world_entries
from tests.fuzz.harness import Entry

ENTRIES: tuple[Entry, ...] = (
    *data_entries.ENTRIES,
    *weights_entries.ENTRIES,
    *world_entries.ENTRIES,
)
ALL = (*ENTRIES, *command_entries.ENTRIES)
"""With the commands that are too slow for many cases."""
BY_NAME = {entry.name: entry for entry in ALL}

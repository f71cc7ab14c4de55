"""Fill `weights/published.csv` with the sizes and sums of downloaded files: a step of a release.

    videozoo weights fetch NAME ...        # from an address that you trust
    python tools/published_sums.py         # writes what the cache holds into the table

Sums that stand in the table already are compared; a difference is an error, and nothing is written.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from videozoo.safe_sums import sum_of
from videozoo.safe_write import written_aside
from videozoo.weights import registry
from videozoo.weights.cache import weights_folder


def main() -> int:
    """Write the table; returns the exit status."""
    table = Path(registry.__file__).with_name("published.csv")
    rows: list[tuple[str, str, str, str]] = []
    for entry in registry.PUBLISHED:
        path = weights_folder() / entry.file_name
        size, digest = entry.size, entry.sha256
        if path.is_file():
            size, digest = path.stat().st_size, sum_of(path)
            if (entry.sha256 or digest) != digest:
                print(f"{path}: sha256 {digest}, and {table} says {entry.sha256}", file=sys.stderr)
                return 1
        rows.append((entry.name, entry.address, str(size or ""), digest or ""))
    with written_aside(table) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("name", "url", "size", "sha256"))
        lines.writerows(rows)
    print(f"{table}: {sum(bool(row[3]) for row in rows)} of {len(rows)} files have their sum")
    return 0


if __name__ == "__main__":
    sys.exit(main())

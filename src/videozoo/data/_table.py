"""Tables of others, as CSV: rows by the names of their columns, and one kind of error."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import DataError

if TYPE_CHECKING:
    _Rows = csv.DictReader[str]
else:
    _Rows = csv.DictReader


class Table(_Rows):
    """The rows of a CSV file.

    Raises:
        DataError: A row cannot be told from the next; the line is named.
    """

    def __init__(
        self, path: Path, text: str, *, delimiter: str = ",", skip_blanks: bool = True
    ) -> None:
        """Read the names of the columns.

        Args:
            path: For messages.
            text: Of the file.
            delimiter: Between columns.
            skip_blanks: Blanks after a delimiter do not count.
        """
        super().__init__(text.splitlines(), delimiter=delimiter, skipinitialspace=skip_blanks)
        self._path = path
        try:
            _ = self.fieldnames
        except csv.Error as error:
            raise self._damaged(error) from None

    def __next__(self) -> dict[str | Any, str | Any]:
        """The next row; columns that it has no value for hold None."""
        try:
            return super().__next__()
        except csv.Error as error:
            raise self._damaged(error) from None

    def _damaged(self, error: csv.Error) -> DataError:
        where = f"{self._path}:{self.line_num + 1}"
        return DataError(f"{where}: not a row of a table ({error}); is a quotation mark open?")

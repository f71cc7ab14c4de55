"""Files of class names, in the order of the class numbers; `FORMATS` is the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.text import Table, integer
from videozoo.errors import DataError, brief, counted

_Found = tuple[list[str], int | None]
"""Names, and the number that the file gives to the first of them; None if it has no numbers."""

_NUMBER_COLUMNS = ("index", "id", "class_id", "label_id", "class_index", "number")
_NAME_COLUMNS = (
    *("display_name", "name", "class_name", "label_name", "key", "class", "label", "action"),
    *("category", "category_name", "action_name"),
    *("names", "class_names", "classes", "labels", "actions", "categories"),
)
_BLOCK = re.compile(r"(?:item|label)\s*\{([^{}]*)\}")
_FIELD = re.compile(r"""(\w+)\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([-\w.]+))""")
_NO_GAPS = "the numbers 0, 1, 2, ... without gaps, from 0 or 1"


def read_class_names(path: Path) -> list[str]:
    """Read class names in order of their numbers, from a file in any of `FORMATS`.

    Numbers start at 0 or 1.

    Raises:
        DataError: The file is missing, empty or of no known format, or the numbers have gaps.
    """
    return _numbered_names(path)[0]


def first_class_number(path: Path) -> int | None:
    """The number that a file of class names gives to the first class; None if it has no numbers.

    Raises:
        DataError: As `read_class_names`.
    """
    return _numbered_names(path)[1]


def lists_class_names(file: TextFile) -> bool:
    """Whether a file says that it is one of class names: by numbers before them, or a heading.

    `1 run` may also be a video called 1, of the class run: look for such videos too. A line such as
    `run 1` is rather a video with its class, and does not count.
    """
    try:
        form = None if "\0" in file.first_line else format_of(file, FORMATS)
        if form is None or form.read(file)[1] is None:
            return form is not None and _heading(file) in _NAME_COLUMNS
    except DataError:
        return False
    if form.read is not _names_with_numbers:
        return True
    pairs = [pair for line in _lines(file)[1:] if (pair := _number_first(line)) is not None]
    return len(pairs) == len(_lines(file)) - 1 and any(integer(name) is None for _, name in pairs)


def _numbered_names(path: Path) -> _Found:
    file = TextFile(path)
    if file.is_folder:
        raise DataError(f"{path}: is a folder, expected a file of class names")
    found: _Found = [], None
    if "\0" in file.first_line:
        raise DataError(f"{path}: not a text file; expected one of class names")
    if file.first_line:
        form = format_of(file, FORMATS)
        if form is None:
            problem = f"{path}: expected a JSON list of names, or another file of class names, got "
            raise unknown(f"{problem}{file.seen}", FORMATS, path=path)
        found = form.read(file)
    if not found[0]:
        raise DataError(f"{path}: no class names in this file")
    return found


# --- JSON --------------------------------------------------------------------------------------


def _items(file: TextFile) -> list[Any] | None:
    """The values of a JSON list; None for any other file."""
    return cast("list[Any]", file.content) if isinstance(file.content, list) else None


def _are_texts(file: TextFile) -> bool:
    items = _items(file)
    return items is not None and all(
        isinstance(item, str | int) and not isinstance(item, bool) for item in items
    )


def _names_of_texts(file: TextFile) -> _Found:
    lines = [str(item).strip() for item in _items(file) or ()]
    return _numbered_lines(file.path, lines) or (lines, None)


def _are_parts(file: TextFile) -> bool:
    items = _items(file)
    return bool(items) and all(map(_joined, items or ()))


def _names_of_parts(file: TextFile) -> _Found:
    return [_joined(item) for item in _items(file) or ()], None


def _pairs(file: TextFile) -> list[tuple[int, str]] | None:
    """Numbers and names of a JSON object; None if neither its keys nor its values are numbers."""
    if not isinstance(file.content, dict):
        return None
    pairs = [(str(key), value) for key, value in cast("dict[Any, Any]", file.content).items()]
    if all(integer(str(value)) is not None for _, value in pairs):
        return [(int(value), key.strip('"')) for key, value in pairs]
    if all(integer(key) is not None and isinstance(value, str) for key, value in pairs):
        return [(int(key), value) for key, value in pairs]
    return None


def _names_of_object(file: TextFile) -> _Found:
    pairs = _pairs(file) or []
    found = _in_order(pairs)
    if found is None and pairs:
        numbers = [number for number, _ in pairs]
        raise DataError(
            f"{file.path}: {counted(len(pairs), 'class')} are numbered from {min(numbers)} to "
            f"{max(numbers)}; expected {_NO_GAPS}"
        )
    return found or ([], None)


def _joined(parts: Any) -> str:
    """A name from its parts; empty if these are not several texts."""
    listed = cast("list[Any]", parts) if isinstance(parts, list) else []
    if len(listed) < 2 or not all(isinstance(part, str) for part in listed):
        return ""
    return " ".join(filter(None, listed))


# --- lines -------------------------------------------------------------------------------------


def _lines(file: TextFile) -> list[str]:
    """The lines, without quotation marks around all of them, and without the heading of a table."""
    lines = [line for _, line in file.lines]
    return _unquoted(lines[1:] if _heading(file) in _NAME_COLUMNS else lines)


def _heading(file: TextFile) -> str:
    """The first line of a table by its ending, as headings are compared; empty for other files."""
    is_table = file.path.suffix.lower() in (".csv", ".tsv")
    return file.first_line.strip('" ').lower() if is_table else ""


def _names_alone(file: TextFile) -> _Found:
    cells = [cell.strip('" ') for cell in re.split(r"[,;|\t]", _heading(file))]
    if len(cells) > 1 and any(cell in _NAME_COLUMNS for cell in cells):
        raise DataError(
            f"{file.path}:1: the heading {brief(file.first_line)} has no column of class numbers; "
            "expected one called id or index beside the names, or one column of names alone"
        )
    return _lines(file), None


def _unquoted(lines: list[str]) -> list[str]:
    are_quoted = all(re.fullmatch(r'".*",?', line) for line in lines)
    return [line.rstrip(",")[1:-1] for line in lines] if are_quoted else lines


def _has_numbers(file: TextFile) -> bool:
    """Whether every line has a number; that they have gaps is said by who reads them."""
    if file.is_json:
        return False
    try:
        return _numbered_lines(file.path, _lines(file)) is not None
    except DataError:
        return True


def _names_with_numbers(file: TextFile) -> _Found:
    return _numbered_lines(file.path, _lines(file)) or ([], None)


def _numbered_lines(path: Path, lines: list[str]) -> _Found | None:
    """Names, and the number of the first name; None unless every line has a number."""
    lines = _unquoted(lines)
    for some in (lines, lines[1:]):  # the first line may be a heading
        for numbered in (_number_first, _number_last):
            pairs = [pair for line in some if (pair := numbered(line)) is not None]
            # if the names differ in their numbers only, these numbers are part of the names
            if len(pairs) < max(2, len(some)) or len({name for _, name in pairs}) < len(pairs):
                continue
            found = _in_order(pairs)
            if found is not None:
                return found
            highest = max(number for number, _ in pairs)
            if some is lines and highest < 2 * len(pairs):
                raise DataError(
                    f"{path}: {counted(len(pairs), 'class')} are numbered up to {highest}; "
                    "expected the numbers 0, 1, 2, ... without gaps, or names alone"
                )
    return None


def _number_first(line: str) -> tuple[int, str] | None:
    name = line.lstrip("0123456789")
    digits = line[: len(line) - len(name)]
    return _number_and_name(digits, name[:1], name)


def _number_last(line: str) -> tuple[int, str] | None:
    name = line.rstrip("0123456789")
    return _number_and_name(line[len(name) :], name[-1:], name)


def _number_and_name(digits: str, between: str, name: str) -> tuple[int, str] | None:
    """Number and name of a class; None unless a blank or a sign such as a comma parts them."""
    name = name.strip(" \t,;:|").strip('"')
    is_pair = 0 < len(digits) < 10 and between in tuple(" \t,;:|") and name
    return (int(digits), name) if is_pair else None


def _in_order(pairs: Sequence[tuple[int, str]]) -> tuple[list[str], int] | None:
    """Names by number, and the first number: 0 or 1; None where numbers are missing."""
    ordered = sorted(pairs)
    first = ordered[0][0] if ordered else -1
    if first not in (0, 1):
        return None
    if [number for number, _ in ordered] != list(range(first, first + len(ordered))):
        return None
    return [name for _, name in ordered], first


# --- tables ------------------------------------------------------------------------------------


def _is_vocabulary(file: TextFile) -> bool:
    return {"Index", "Name"} <= file.columns


def _columns(file: TextFile) -> tuple[str, str] | None:
    """The columns of numbers and names of a table; None if it has none."""
    names = {name.lower(): name for name in file.columns}
    number, name = (
        next((names[one] for one in known if one in names), None)
        for known in (_NUMBER_COLUMNS, _NAME_COLUMNS)
    )
    return None if number is None or name is None else (number, name)


def _names_of_table(file: TextFile) -> _Found:
    columns, pairs = _columns(file), list[tuple[int, str]]()
    assert columns is not None
    rows = Table(file.path, file.text)
    if rows.fieldnames is not None:
        rows.fieldnames = [name.strip() for name in rows.fieldnames]
    for row in cast("Iterable[Mapping[str, str | None]]", rows):
        number, name = (integer((row[columns[0]] or "").strip()), (row[columns[1]] or "").strip())
        if number is None or not name:
            raise DataError(
                f"{file.path}:{rows.line_num}: {columns[0]} {row[columns[0]]!r} and {columns[1]} "
                f"{row[columns[1]]!r}, expected a number and a name"
            )
        pairs.append((number, name))
    found = _in_order(pairs)
    if found is None and pairs:
        raise DataError(f"{file.path}: the column {columns[0]} must hold {_NO_GAPS}")
    return found or ([], None)


def _names_of_vocabulary(file: TextFile) -> _Found:
    """Names by `Index`; a class without a name gets its knowledge graph id, or its number."""
    named: dict[int, str] = {}
    rows = Table(file.path, file.text, skip_blanks=False)
    for row in cast("Iterable[Mapping[str, str | None]]", rows):
        index = integer((row["Index"] or "").strip())
        if index is None or index in named:
            raise DataError(
                f"{file.path}:{rows.line_num}: Index {row['Index']!r}, expected a new number in "
                "each row"
            )
        name = (row["Name"] or "").strip() or (row.get("KnowledgeGraphId") or "").strip()
        named[index] = name or f"class {index}"
    if not named or sorted(named) != list(range(len(named))):
        raise DataError(f"{file.path}: the column Index must hold 0, 1, 2, ... without gaps")
    return [named[index] for index in range(len(named))], 0


# --- label maps --------------------------------------------------------------------------------


def _is_label_map(file: TextFile) -> bool:
    """Whether this is a label map in the text form of protocol buffers."""
    return not file.is_json and _BLOCK.search(file.text) is not None


def _names_of_label_map(file: TextFile) -> _Found:
    pairs: list[tuple[int, str]] = []
    for place, block in enumerate(_BLOCK.findall(file.text)):
        fields = {key: next(filter(None, values), "") for key, *values in _FIELD.findall(block)}
        name = fields.get("display_name") or fields.get("name")
        number = integer(fields.get("id") or fields.get("label_id") or "")
        if not name or number is None:
            raise DataError(
                f"{file.path}: item {place}: {brief(' '.join(block.split()))}, expected a name and "
                "an id"
            )
        pairs.append((number, name))
    found = _in_order(pairs)
    if found is None:
        highest = max(number for number, _ in pairs)
        raise DataError(
            f"{file.path}: {counted(len(pairs), 'class')} are numbered up to {highest}; expected "
            f"{_NO_GAPS}"
        )
    return found


FORMATS: tuple[Format[TextFile, Callable[[TextFile], _Found]], ...] = (
    Format(
        "JSON, a list of names",
        _are_texts,
        _names_of_texts,
        '["air drumming", "run"]',
        "names.json",
        about="Names in the order of their numbers, from 0.",
    ),
    Format(
        "JSON, a list with the parts of each name",
        _are_parts,
        _names_of_parts,
        '[["air", "drumming"], ["run", ""]]',
        "Diving48_vocab.json",
        about="Diving48: the parts of a name are joined by blanks.",
        source="Diving48, Diving48_vocab.json",
    ),
    Format(
        "JSON, an object of numbers and names",
        lambda file: _pairs(file) is not None,
        _names_of_object,
        '{"run": "1", "air drumming": "0"}',
        "something-something-v2-labels.json",
        about="From name to number, as Something-Something v2 and Kinetics in SlowFast have it, or "
        "from number to name.",
        source="Something-Something v2, labels.json; PyTorchVideo, kinetics_classnames.json",
    ),
    Format(
        "vocabulary of YouTube-8M",
        _is_vocabulary,
        _names_of_vocabulary,
        "Index,TrainVideoCount,KnowledgeGraphId,Name\n0,9,/m/01,air drumming\n1,5,/m/02,run\n",
        "vocabulary.csv",
        about="A class without a name is called by its knowledge graph id.",
        source="research.google.com/youtube8m: vocabulary.csv",
    ),
    Format(
        "label map, pbtxt",
        _is_label_map,
        _names_of_label_map,
        'item {\n  name: "air drumming"\n  id: 1\n}\nitem {\n  name: "run"\n  id: 2\n}\n',
        "label_map.pbtxt",
        about="Label maps of TensorFlow and AVA (`label` in place of `item`); display_name counts "
        "before name.",
        source="TensorFlow Object Detection API, string_int_label_map.proto",
    ),
    Format(
        "a table with the number and the name of each class",
        lambda file: _columns(file) is not None and not file.is_json,
        _names_of_table,
        "id,key,category\n0,air drumming,music\n1,run,sports\n",
        "EPIC_100_verb_classes.csv",
        about="Columns in any order, found by their heading: id or index, and name, key, class or "
        "label.",
        source="EPIC-Kitchens-100, EPIC_100_verb_classes.csv",
    ),
    Format(
        "one class per line with its number: NUMBER NAME or NAME NUMBER",
        _has_numbers,
        _names_with_numbers,
        "1 air drumming\n2 run\n",
        "classInd.txt",
        about="UCF101, Moments in Time, label_map.txt of MMAction2, and lists of the 2019 library; "
        "blanks, commas, semicolons or colons after or before the number.",
        source="UCF101, classInd.txt; Moments in Time, moments_categories.txt",
    ),
    Format(
        "one name per line",
        lambda file: not file.is_json,
        _names_alone,
        "air drumming\nrun\n",
        "names.txt",
        about="Names in the order of their numbers, from 0; in a .csv or .tsv, a heading such as "
        "`name`, `class` or `action` is left out. The names of Charades keep their codes "
        "(`c000 ...`).",
        source="MMAction2, label_map_k400.txt and action_name.csv; Charades_v1_classes.txt",
    ),
)
"""Formats of files of class names."""

"""Formats of video lists: one row per video, its path and class not yet looked up.

`FORMATS`, at the end, is the table of known formats. In plain lists a blank, a tab, a comma or a
semicolon stands between path and class. There may be a column with the number of frames. Paths may
contain blanks and commas. So several ways to cut a line are tried on some lines, and one is chosen
for the whole file: the one that finds the most existing paths with a class.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from videozoo.data.annotations.column_names import LABELS, PATHS, SUBSETS, plain_name
from videozoo.data.annotations.data_set_lists import (
    diving_rows,
    hmdb_files,
    hmdb_rows,
    is_diving,
    is_moments,
    is_something,
    kinetics_delimiter,
    kinetics_rows,
    moments_rows,
    something_rows,
)
from videozoo.data.annotations.frame_lists import (
    frame_list_rows,
    has_offsets,
    is_frame_list,
    offset_rows,
    part_row,
    refuse_boxes,
)
from videozoo.data.annotations.list_files import Row, VideoList, with_parts
from videozoo.data.annotations.several_labels import (
    Cut,
    bare,
    cell_labels,
    charades_labels,
    cut_line,
    first_is_frames,
    have_several,
)
from videozoo.data.files import PICKLE_SUFFIXES, VIDEO_SUFFIXES
from videozoo.data.formats import Format, format_of, unknown
from videozoo.data.text import Table, class_number, integer
from videozoo.errors import DataError, brief

_NUMBER_COLUMNS = ("label_id", "class_id", "class_index", "label_index", "category_id", "target")
_SEVERAL_COLUMNS = ("labels", "classes", "tags", "categories", "label_ids", "class_ids", "targets")
_FRAME_COLUMNS = ("frames", "num_frames", "n_frames", "total_frames", "frame_count")
_OFFSET_COLUMNS = ("offset", "frame_offset")
_LONGEST_NAME = 200  # characters of a class name
_LONGEST_HEADING = 100_000  # characters; all of a JSON file may be one line
_MOST_TRIED = 16  # lines on which the ways to cut a line are tried

ListKind = Literal["auto", "list", "csv"]
Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what, as the header says."""

    delimiter: str
    path: int
    label: int | None
    frames: int | None
    may_be_several: bool = False
    """The name of the column says that a video may have several labels."""
    part: int | None = None
    """Column that says which part of the data set a video belongs to."""
    offset: int | None = None
    """Column of the first frame, from 0, where lines are about parts of videos."""


def list_rows(
    path: Path,
    root: Path | None,
    kind: ListKind = "auto",
    *,
    has_several: bool = False,
    num_classes: int | None = None,
    count_frames: Callable[[Path], int] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a list in any of `FORMATS`.

    Args:
        path: The list.
        root: Folder of the videos.
        kind: `list` excludes the official CSV of Kinetics; `csv` expects a heading.
        has_several: A video may have several classes, as is known already. By default the list
            must show it by itself.
        num_classes: How many classes there are; None: unknown.
        count_frames: Opens a video and counts its frames: tells a column of frames from classes.

    Raises:
        DataError: The list is missing, empty, damaged or of no known format.
    """
    file = VideoList(path, root, count_frames, has_several=has_several, num_classes=num_classes)
    refuse_boxes(file)
    formats = {"auto": FORMATS, "list": _NOT_KINETICS, "csv": _CSV}[kind]
    found = format_of(file, formats)
    if found is not None:
        return found.read(file)
    if kind == "csv":
        number, heading = file.lines[0]
        problem = f"{path}:{number}: expected the header of a CSV, got {brief(heading)}"
        raise unknown(problem, _CSV, path=path)
    raise unknown(f"{path}: not a list of videos: {file.seen}", FORMATS, path=path)


def is_of_data_set(path: Path) -> bool:
    """Whether a folder or a JSON file is the list of a known data set.

    Other lists are known by their endings.
    """
    if not path.is_dir() and path.suffix.lower() != ".json":
        return False
    try:
        return format_of(VideoList(path, None), _OF_DATA_SETS) is not None
    except DataError:
        return False


# --- a heading names the columns -------------------------------------------------------------


def _is_headed(file: VideoList) -> bool:
    first = file.rows[0][1] if file.rows else ""
    return header_of(first) is not None and not file.exists(first)


def _headed_rows(file: VideoList) -> Iterator[Row]:
    columns = header_of(file.rows[0][1])
    assert columns is not None
    rows = file.rows[1:]
    if columns.delimiter != " ":
        by_header = [_by_header(*row, columns) for row in rows]
        found = _as_several([row for row, _ in by_header], columns, file)
        yield from with_parts(list(zip(found, (part for _, part in by_header), strict=True)))
    elif columns.may_be_several or file.has_several or _are_several(rows, file):
        yield from _several_rows(rows, file, with_frames=columns.frames is not None)
    else:
        yield from _formed_rows(rows, file)


def header_of(line: str) -> Columns | None:
    """The columns that a heading names; None if the line is no heading.

    >>> found = header_of("Path, Label")
    >>> found.delimiter, found.path, found.label, found.frames
    (',', 0, 1, None)
    >>> header_of("run/a.mp4 3")
    """
    if len(line) > _LONGEST_HEADING:
        return None
    for delimiter in ("\t", ",", ";", "|", " "):
        cells = [plain_name(bare(cell)) for cell in line.split(delimiter)]
        path = _place(cells, PATHS)
        label = _place(cells, (*LABELS, *_NUMBER_COLUMNS))
        several = _place(cells, _SEVERAL_COLUMNS) if label is None else None
        label = several if label is None else label
        if path is not None and (label is not None or len(cells) == 1):
            frames, part, offset = (
                _place(cells, names) for names in (_FRAME_COLUMNS, SUBSETS, _OFFSET_COLUMNS)
            )
            return Columns(delimiter, path, label, frames, several is not None, part, offset)
    return None


def _place(cells: Sequence[str], names: Sequence[str]) -> int | None:
    return next((cells.index(name) for name in names if name in cells), None)


def _by_header(number: int, text: str, columns: Columns) -> tuple[Row, str]:
    """A row, and what its column of parts says."""
    try:
        cells = next(csv.reader([text], delimiter=columns.delimiter, skipinitialspace=True), [])
    except csv.Error:  # no column is that long
        return Row(number, text, ""), ""
    cells = [cell.strip() for cell in cells]
    if len(cells) <= max(columns.path, columns.label or 0):
        return Row(number, text, ""), ""

    def cell(place: int | None) -> str:
        return "" if place is None or len(cells) <= place else cells[place]

    frames = integer(cell(columns.frames))
    row = Row(number, text, cells[columns.path], cell(columns.label), frames=frames)
    if columns.offset is not None:
        row = part_row(row, integer(cell(columns.offset)), frames)
    return row, cell(columns.part)


def _as_several(rows: Sequence[Row], columns: Columns, file: VideoList) -> Sequence[Row]:
    """Rows of a table with all labels of their cells, if any cell holds several, or may."""
    found = [cell_labels(row.label, commas=columns.may_be_several) for row in rows]
    if columns.label is None or (max(map(len, found), default=0) < 2 and not file.has_several):
        return rows
    return [_with_labels(row, labels) for row, labels in zip(rows, found, strict=True)]


def _with_labels(row: Row, labels: tuple[str, ...]) -> Row:
    return replace(row, label=labels[0] if labels else "", labels=labels) if row.path else row


def _is_of_parts(file: VideoList) -> bool:
    """Whether lines are about parts of folders of frames: a heading or the numbers say so."""
    columns = header_of(file.rows[0][1]) if file.rows else None
    if columns is None:
        return has_offsets(file)
    return columns.offset is not None and columns.frames is not None


def _part_rows(file: VideoList) -> Iterator[Row]:
    columns = header_of(file.rows[0][1])
    if columns is None or columns.delimiter == " ":
        yield from offset_rows(file, file.rows if columns is None else file.rows[1:])
    else:
        yield from _headed_rows(file)


# --- plain lines -----------------------------------------------------------------------------


def _is_plain(file: VideoList) -> bool:
    """Any text but JSON; a path may begin with a bracket."""
    try:
        return file.content is None and not file.records
    except DataError:
        return True


def _plain_rows(file: VideoList) -> Iterator[Row]:
    return _formed_rows(file.rows, file)


def _formed_rows(lines: Sequence[tuple[int, str]], file: VideoList) -> Iterator[Row]:
    if not lines:
        return
    form = _best_form([text for _, text in lines], file.exists)
    rows = [_by_form(number, text, form) for number, text in lines]
    found = [cell_labels(row.label) for row in rows]
    if max(map(len, found)) > 1:  # names: PATH NAME;NAME
        rows = [_with_labels(row, own) for row, own in zip(rows, found, strict=True)]
    yield from rows


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to cut a line: at its last delimiters, since paths may contain delimiters too."""

    delimiter: str
    """Empty: the whole line is a path. A blank: any number of blanks and tabs."""
    with_frames: bool = False

    def cut(self, text: str) -> tuple[str, str, int | None] | None:
        """Path, label, frames; None if the line has too few columns."""
        if not self.delimiter:
            return text, "", None
        most = 2 if self.with_frames else 1
        cells = text.rsplit(None if self.delimiter == " " else self.delimiter, most)
        if '"' in (text[0], text[-1]):  # what stands in quotes is one column
            quoted = _quoted_cells(text, self.delimiter)
            cells = quoted if len(quoted) == most + 1 else cells
        cells = [bare(cell) for cell in cells]
        frames = integer(cells[1]) if self.with_frames and len(cells) == 3 else None
        if len(cells) != (3 if self.with_frames else 2) or not cells[0] or not cells[-1]:
            return None
        return None if self.with_frames and frames is None else (cells[0], cells[-1], frames)


def _quoted_cells(text: str, delimiter: str) -> list[str]:
    """The cells of a line of CSV; none if it is damaged."""
    try:
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return []


_TAB = _Form("\t")
_BETWEEN = (" ", "\t", ",", ";", "|")
_FORMS = (
    *(_Form(delimiter) for delimiter in _BETWEEN),
    *(_Form(delimiter, with_frames=True) for delimiter in _BETWEEN),
    _Form(""),
)
"""Ways to cut a line; if two are equally good, the first is taken."""


def _best_form(texts: Sequence[str], exists: Exists) -> _Form:
    tried = texts[:: -(-len(texts) // _MOST_TRIED)]
    is_there = cache(exists)

    def points(form: _Form) -> int:
        return sum(_points(form.cut(text), is_there) for text in tried)

    has_tabs = all(text.count("\t") == 1 for text in texts)  # then names may have blanks
    return max(_FORMS, key=lambda form: (points(form), has_tabs and form == _TAB))


def _points(cut: tuple[str, str, int | None] | None, exists: Exists) -> int:
    """How plausible a cut of a line is: higher is better, 0 is not possible."""
    if cut is None:
        return 0
    path, label, _ = cut
    if not label:
        return 5 if exists(path) else 0
    is_number = class_number(label) is not None
    if not is_number and not may_be_name(label):
        return 0
    if exists(path):
        return 8 if is_number else 6
    return (2 if is_number else 0) + (Path(path).suffix.lower() in VIDEO_SUFFIXES)


def may_be_name(label: str) -> bool:
    """Whether a text may be the name of a class, and is not the end of a path.

    >>> may_be_name("long jump"), may_be_name("clip.mp4")
    (True, False)
    """
    if len(label) > _LONGEST_NAME:
        return False
    is_file = Path(label).suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES
    return not is_file and "/" not in label and "\\" not in label


def has_more_columns(path: str) -> bool:
    """Whether more columns follow the ending of a video in what should be a path.

    >>> has_more_columns("a.mp4 60 0"), has_more_columns("my.mp4s/b 1.mkv")
    (True, False)
    """
    return _MORE.search(path) is not None


_ENDINGS = "|".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))
_MORE = re.compile(rf"\.({_ENDINGS}|pkl)[\s,;|][-\d\s.,;|]*$", re.IGNORECASE)


def _by_form(number: int, text: str, form: _Form) -> Row:
    cut = form.cut(text)
    if cut is None:
        return Row(number, text, text)
    path, label, frames = cut
    return Row(number, text, path, label, frames=frames)


# --- several classes per video -----------------------------------------------------------------


def _are_several(lines: Sequence[tuple[int, str]], file: VideoList) -> bool:
    return have_several([text for _, text in lines], file.exists)


def _has_several(file: VideoList) -> bool:
    """Whether lines hold several numbers; where that is known already, one number is enough."""
    if file.has_several:
        return all(cut_line(text).numbers for _, text in file.rows)
    return _are_several(file.rows, file)


def _several_rows(
    lines: Sequence[tuple[int, str]], file: VideoList, *, with_frames: bool | None = None
) -> Iterator[Row]:
    """Rows `PATH LABEL [LABEL ...]` or `PATH FRAMES LABEL [LABEL ...]`."""
    cuts = [(number, cut_line(text, file.exists)) for number, text in lines]
    if with_frames is None:
        with_frames = first_is_frames(file.path, cuts, file.num_frames, file.num_classes)
    found = [
        _row_of(number, text, cut, with_frames)
        for (number, text), (_, cut) in zip(lines, cuts, strict=True)
    ]
    is_single = not file.has_several and all(len(row.labels or "1") == 1 for row in found)
    return (replace(row, labels=None) if is_single else row for row in found)


def _row_of(number: int, text: str, cut: Cut, with_frames: bool) -> Row:
    labels = tuple(map(str, cut.numbers[1:] if with_frames else cut.numbers))
    if not labels:
        form = "PATH FRAMES LABEL" if with_frames else "PATH LABEL"
        problem = f"no class: expected '{form} [LABEL ...]', got {brief(text)}"
        return Row(number, text, cut.path, problem=problem)
    frames = cut.numbers[0] if with_frames else None
    return Row(number, text, cut.path, labels[0], labels, frames)


def _is_charades(file: VideoList) -> bool:
    return {"id", "actions"} <= file.columns


def _charades_rows(file: VideoList) -> Iterator[Row]:
    table = Table(file.path, file.text)
    for row in table:
        name, actions = ((row.get(key) or "").strip() for key in ("id", "actions"))
        text, problem = f"{name},{actions}", ""
        labels: tuple[str, ...] = ()
        try:
            labels = tuple(dict.fromkeys(charades_labels(actions)))
        except ValueError as error:
            problem = f"expected actions as 'c092 11.90 21.20;...', got {brief(str(error))}"
        if not name:
            problem = f"no id of a video: {brief(text)}"
        first = labels[0] if labels else ""
        yield Row(
            *(table.line_num, text, f"{name}.mp4", first, labels),
            search=(name,), is_name=True, problem=problem,
        )  # fmt: skip


# --- views: test lists of the 2019 library -----------------------------------------------------


def _view_fields(line: str) -> tuple[str, int, int, int] | None:
    fields = line.split()
    if len(fields) != 4:
        return None
    video, clip, crop = map(integer, fields[1:])
    if video is None or clip is None or crop is None:
        return None
    return fields[0], video, clip, crop


def _view_rows(file: VideoList) -> Iterator[Row]:
    for number, text in file.lines:
        fields = _view_fields(text)
        assert fields is not None
        path, *view = fields
        video, clip, crop = view
        problem = ""
        if min(video, clip) < 0 or not 0 <= crop <= 5:
            expected = "'PATH VIDEO CLIP CROP' with a crop from 0 to 5"
            problem = f"expected {expected}, got {brief(' '.join(text.split()))}"
        yield Row(number, text, path, view=(video, clip, crop), problem=problem)


def _are_views(file: VideoList) -> bool:
    """Whether all lines are views, and their numbers can be those of videos, clips and crops."""
    fields = [_view_fields(line) for _, line in file.lines]
    views = [one for one in fields if one is not None]
    return len(views) == len(fields) and not file.has_several and can_be_views(views)


def can_be_views(views: Sequence[tuple[str, int, int, int]]) -> bool:
    """Whether each video has its own number, or all have 0 as in 2019 prediction lists.

    Args:
        views: Path and numbers of video, clip and crop.
    """
    pairs = {(path, video) for path, video, _, _ in views}
    videos = {video for _, video in pairs}
    return videos == {0} or len({path for path, _ in pairs}) == len(videos) == len(pairs)


_ListFormat = Format[VideoList, Callable[[VideoList], Iterator[Row]]]
_KINETICS: _ListFormat = Format(
    "the official CSV of Kinetics",
    lambda file: not file.is_folder and kinetics_delimiter(file) is not None,
    kinetics_rows,
    "label,youtube_id,time_start,time_end,split\nrun,abc,10,20,train\n",
    "kinetics400_train.csv",
    about="Kinetics-400, -600 and -700. Videos lie anywhere below data.root, as "
    "ID_START_END.mp4 or ID.mp4.",
    source="readme.txt of the data set",
)
_HEADED: _ListFormat = Format(
    "a heading, and one video per line",
    _is_headed,
    _headed_rows,
    "path,label\nrun/abc.mp4,run\n",
    "train.csv",
    about="Columns in any order, by comma, tab, semicolon, bar (|) or blank. A column `split` with "
    "train, val and test divides one list into parts.",
)
_OF_DATA_SETS: tuple[_ListFormat, ...] = (
    Format(
        "HMDB51, a folder of CLASS_test_splitN.txt: VIDEO CODE",
        lambda file: bool(hmdb_files(file.path)),
        hmdb_rows,
        "abc.mp4 1\n",
        "splits/run_test_split1.txt",
        about="Code 1 is for training, 2 for testing, 0 for neither. data.split says which split, "
        "if the folder has several; the videos lie in data.root, CLASS/VIDEO. One of the files "
        "stands for all of its split.",
        source="readme.txt of the split files; PyTorchVideo, data/hmdb51.py",
    ),
    Format(
        "Something-Something v2",
        is_something,
        something_rows,
        '[{"id": "abc", "template": "Pushing [something]"}]',
        "something-something-v2-train.json",
        about="The class is the template without brackets; data.class_names takes "
        "something-something-v2-labels.json. Videos (or folders of frames) lie below data.root.",
        source="SlowFast, datasets/ssv2.py; MMAction2, tools/data/parse_file_list.py",
    ),
    Format(
        "Diving48",
        is_diving,
        diving_rows,
        '[{"vid_name": "abc", "label": 0, "start_frame": 0, "end_frame": 89}]',
        "Diving48_V2_train.json",
        about="Whole videos, classes from 0; data.class_names takes Diving48_vocab.json. Videos "
        "(or folders of frames) lie below data.root.",
        source="MMAction2, tools/data/parse_file_list.py",
    ),
)
"""Formats of files and folders that are not known as lists by their endings."""
FORMATS: tuple[_ListFormat, ...] = (
    *_OF_DATA_SETS,
    _KINETICS,
    Format(
        "Moments in Time: PATH,CLASS,YES,NO",
        is_moments,
        moments_rows,
        "run/abc.mp4,run,3,0\n",
        "trainingSet.csv",
        about="YES and NO count people who agreed, and are not used; data.class_names takes "
        "moments_categories.txt. data.root is the folder of the data set, or its training/.",
        source="README.txt of the data set; MMAction2, tools/data/parse_file_list.py",
    ),
    Format(
        "frame list of SlowFast, one line per frame",
        is_frame_list,
        frame_list_rows,
        "original_vido_id video_id frame_id path labels\n"
        'abc 0 0 run/abc/abc-000001.jpg "0"\nabc 0 1 run/abc/abc-000002.jpg "0,3"\n',
        "train.csv",
        about="Charades in SlowFast: a folder of frames per video, which has the classes of all "
        "its frames; lists without classes (AVA) are refused",
        source="SlowFast, datasets/DATASET.md and datasets/charades.py",
    ),
    Format(
        "parts of folders of frames: PATH OFFSET FRAMES LABEL",
        _is_of_parts,
        _part_rows,
        "path offset frames label\nrun/abc 12 20 0\n",
        "train_offset.txt",
        about="MMAction2's with_offset: OFFSET is the first frame, from 0. Without the heading the "
        "list is known where a folder has several offsets, or where FRAMES can be no class.",
        source="MMAction2, datasets/rawframe_dataset.py",
    ),
    Format(
        "test list of the 2019 library, one view per line: PATH VIDEO CLIP CROP",
        _are_views,
        _view_rows,
        "run/abc.mp4 0 3 1\n",
        "testlist.txt",
        about="For prediction with Non-local networks of the 2019 library.",
    ),
    Format(
        "the CSV of Charades: any number of classes per video",
        _is_charades,
        _charades_rows,
        "id,subject,actions,length\nabc,HR43,c092 11.90 21.20;c147 0.00 12.60,32.33\n",
        "Charades_v1_train.csv",
        about="Charades; the whole video has all its actions, their times are not used",
        source="allenai.org/plato/charades: README.txt",
    ),
    _HEADED,
    Format(
        "several classes per video: PATH LABEL [LABEL ...] or PATH FRAMES LABEL [LABEL ...]",
        _has_several,
        lambda file: _several_rows(file.rows, file),
        "run/abc.mp4 0 3\nrun/abc.mp4 5\n",
        "train_multi.txt",
        about="lists of MMAction2 with several classes per video, of video files and of frames",
        source="MMAction2, docs/en/user_guides/prepare_dataset.md; VideoDataset, RawframeDataset",
    ),
    Format(
        "one video per line: PATH, PATH LABEL or PATH FRAMES LABEL",
        _is_plain,
        _plain_rows,
        "run/abc.mp4 0\n",
        "train.txt",
        about="UCF101, MMAction2 (videos and raw frames), SlowFast, PyTorchVideo, VideoMAE. "
        "Blanks, tabs, commas, semicolons or bars (|) between the columns; classes as numbers or "
        "as names; lines that start with # are left out. PATH may be a folder with the frames as "
        "images, and may lack its ending.",
        source="MMAction2, datasets/video_dataset.py and rawframe_dataset.py; SlowFast, "
        "datasets/DATASET.md; PyTorchVideo, data/labeled_video_paths.py; VideoMAE, DATASET.md",
    ),
)
"""Formats of video lists."""
_CSV = (_KINETICS, _HEADED)
_NOT_KINETICS = tuple(one for one in FORMATS if one is not _KINETICS)

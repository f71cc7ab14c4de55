"""Lists of frames: parts of long folders of images (MMAction2), one line per frame (SlowFast)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from videozoo.data.annotations.list_files import Row, VideoList
from videozoo.data.annotations.several_labels import Cut, cut_line
from videozoo.data.text import finite_number, integer
from videozoo.errors import DataError, brief

_MOST_OPENED = 5  # folders whose images are counted
_NUMBERS = 3  # after a path: first frame, frames, class
_FRAME_LIST = {"video_id", "frame_id", "path", "labels"}
_BOX_COLUMNS = (7, 8)  # of AVA: video, second, four ends of a box, class, and the person

OFFSET_ADVICE = (
    "if these are parts of folders of frames (MMAction2, with_offset), put the heading "
    "'path offset frames label' above the list"
)

# --- parts of long folders -----------------------------------------------------------------------


def has_offsets(file: VideoList) -> bool:
    """Whether lines can only be `PATH OFFSET FRAMES LABEL`.

    So it is if a folder is there with several offsets, or frames are more than there are classes,
    and the parts lie within the folders.
    """
    first = cut_line(file.rows[0][1]) if file.rows else None
    if first is None or len(first.numbers) != _NUMBERS or file.has_several:
        return False
    cuts = [cut_line(text) for _, text in file.rows]
    if any(len(cut.numbers) != _NUMBERS for cut in cuts) or not _cannot_be_classes(cuts, file):
        return False
    opened = 0
    for cut in cuts[:: max(1, len(cuts) // _MOST_OPENED)]:
        offset, frames, _ = cut.numbers
        count = file.num_images(cut.path)
        if count and not (offset >= 0 and 0 < frames <= count + 1 - offset):
            return False
        opened += bool(count)
    return opened > 0


def _cannot_be_classes(cuts: Sequence[Cut], file: VideoList) -> bool:
    offsets: defaultdict[str, set[int]] = defaultdict(set)
    for cut in cuts:
        offsets[cut.path].add(cut.numbers[0])
    is_repeated = any(len(held) > 1 for held in offsets.values())
    most = file.num_classes
    return is_repeated or (most is not None and any(cut.numbers[1] > most for cut in cuts))


def offset_rows(file: VideoList, lines: Sequence[tuple[int, str]]) -> Iterator[Row]:
    """Rows `PATH OFFSET FRAMES LABEL [LABEL ...]`; OFFSET is the first frame, from 0.

    Source:
        MMAction2, `RawframeDataset` with `with_offset`.
    """
    cuts = [cut_line(text, file.exists) for _, text in lines]
    has_several = any(len(cut.numbers) > _NUMBERS for cut in cuts)
    for (number, text), cut in zip(lines, cuts, strict=True):
        if len(cut.numbers) < _NUMBERS:
            expected = "'PATH OFFSET FRAMES LABEL'"
            yield Row(number, text, cut.path, problem=f"expected {expected}, got {brief(text)}")
            continue
        labels = tuple(map(str, cut.numbers[2:]))
        yield part_row(
            Row(number, text, cut.path, labels[0], labels if has_several else None),
            *cut.numbers[:2],
        )


def part_row(row: Row, offset: int | None, frames: int | None) -> Row:
    """A row that is about a part of its video."""
    problem = row.problem
    if offset is None or frames is None or offset < 0 or frames <= 0:
        problem = (
            f"expected the first frame, from 0, and a number of frames above 0, got "
            f"{brief(row.text)}"
        )
    return Row(
        row.number,
        row.text,
        row.path,
        row.label,
        row.labels,
        frames,
        first_frame=offset,
        part=row.part,
        problem=problem,
    )


# --- one line per frame --------------------------------------------------------------------------


def is_frame_list(file: VideoList) -> bool:
    """Whether this is a frame list of SlowFast, which has one line per frame."""
    heading = file.first_line.split()
    return len(heading) == 5 and set(heading) >= _FRAME_LIST


def frame_list_rows(file: VideoList) -> Iterator[Row]:
    """One row per video, with the classes of all its frames; the folder of the frames is its path.

    Raises:
        DataError: No frame has a class, as in the lists of AVA, or frames of one video lie in
            several folders.

    Source:
        SlowFast, `datasets/utils.py`, `load_image_lists`; `datasets/charades.py` takes all classes
        of the frames between the first and the last that it samples.
    """
    columns = file.first_line.split()
    at_video, at_path, at_labels = 0, columns.index("path"), columns.index("labels")
    first: dict[str, tuple[int, str]] = {}
    folders: dict[str, str] = {}
    counts: defaultdict[str, int] = defaultdict(int)
    labels: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for number, text in file.lines[1:]:
        cells = text.split()
        found = _frame_labels(cells[at_labels]) if len(cells) == len(columns) else None
        if found is None:
            problem = f"expected '{file.first_line}', got {brief(text)}"
            yield Row(number, text, "", problem=problem)
            continue
        video = cells[at_video]
        folder = PurePosixPath(cells[at_path].replace("\\", "/")).parent.as_posix()
        if folders.setdefault(video, folder) != folder:
            raise DataError(
                f"{file.path}:{number}: frames of {video!r} lie in {folders[video]} and in "
                f"{folder}; expected one folder per video"
            )
        first.setdefault(video, (number, text))
        counts[video] += 1
        labels[video] |= dict.fromkeys(found)
    if first and not any(labels.values()):
        raise DataError(
            f"{file.path}: a frame list of SlowFast without classes, as AVA has it: its classes "
            "are of boxes of people at single seconds, which no model here learns; name whole "
            "videos with their classes, or segments"
        )
    for video, (number, text) in first.items():
        own = tuple(map(str, sorted(labels[video])))
        yield Row(number, text, folders[video], own[0] if own else "", own, frames=counts[video])


def _frame_labels(cell: str) -> list[int] | None:
    """Classes of a frame; None if the cell holds something else.

    >>> _frame_labels('"84,95"'), _frame_labels('""')
    ([84, 95], [])
    """
    text = cell.strip("\"'")
    found = [integer(one) for one in text.split(",")] if text else []
    return None if None in found else [one for one in found if one is not None]


def refuse_boxes(file: VideoList) -> None:
    """Raise DataError for the CSV of AVA, whose classes belong to boxes in single frames."""
    cells = file.first_line.split(",")
    if len(cells) not in _BOX_COLUMNS:
        return
    numbers = [finite_number(cell) for cell in cells[1:6]]
    seconds, *box = [-1.0 if number is None else number for number in numbers]
    if (
        seconds == int(seconds) >= 0
        and all("." in one for one in cells[2:6])
        and (0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1)
    ):
        raise DataError(
            f"{file.path}: annotations of AVA: boxes of people at single seconds, which no model "
            "here learns; expected videos with their classes, or segments"
        )

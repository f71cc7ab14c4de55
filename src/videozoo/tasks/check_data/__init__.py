"""Check a data set before a run depends on it: videos, annotations, sentences, features, records.

`CHECKERS` is the table: what each checks, which files it takes, and which configurations.
`videos.py` and `findings.py` describe the result of `--json FILE`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.annotations import list_formats, result_formats, segment_formats
from videozoo.data.annotations.class_names import lists_class_names
from videozoo.data.annotations.column_names import known_names
from videozoo.data.annotations.list_formats import VideoList
from videozoo.data.annotations.segment_types import SegmentFile
from videozoo.data.annotations.sentences import FORMATS as SENTENCE_FORMATS
from videozoo.data.annotations.videos import list_lines
from videozoo.data.features.by_name import holds_features
from videozoo.data.features.record_formats import holds_records
from videozoo.data.files import PICKLE_SUFFIXES, VIDEO_SUFFIXES, refuse_pipe, videos_under
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.text import delimiter_of, finite_number, is_text, unused_times
from videozoo.errors import DataError, UsageError, few
from videozoo.tasks.check_data.features import run_features
from videozoo.tasks.check_data.parts import CheckRequest, Kind, Part, VideoToCheck
from videozoo.tasks.check_data.records import run_records
from videozoo.tasks.check_data.result import CheckResult
from videozoo.tasks.check_data.segments import run_segments
from videozoo.tasks.check_data.sentences import run_sentences
from videozoo.tasks.check_data.videos import check, run_videos
from videozoo.types import (
    Captioning,
    Classification,
    Localisation,
    MomentRetrieval,
    ProposalScoring,
    Tagging,
)

__all__ = ["CHECKERS", "CheckRequest", "CheckResult", "Part", "VideoToCheck", "check", "run"]


_COLUMN_NAME = re.compile(r"[^\W\d][\w %()\[\]-]*")


@dataclass(frozen=True)
class Checker:
    """One kind of data that can be checked."""

    kind: Kind
    takes: Callable[[SegmentFile], bool]
    """Whether there is such data at a path; a text is read once for all rows. The first row that
    returns true checks it."""
    reads: Callable[[RunConfig], bool]
    """Whether a run of this configuration reads such data."""
    run: Callable[[CheckRequest, RunConfig | None, Console], None]
    """Checks, shows what it finds, and raises DataError if something cannot be used."""
    compares: tuple[str, ...] = ()
    """Flags for data to compare with."""
    reads_settings: bool = False
    """Whether it reads `--set` without a configuration."""


CHECKERS: tuple[Checker, ...] = (
    Checker(
        "records",
        lambda file: os.path.lexists(file.path) and holds_records(file.path),
        lambda config: isinstance(config.spec.task, Tagging) and not config.data.is_raw,
        run_records,
    ),
    Checker(
        "segments",
        lambda file: _is_text_of(file, segment_formats.FORMATS) and not _is_of_sentences(file),
        lambda config: isinstance(config.spec.task, Localisation | ProposalScoring),
        run_segments,
        ("videos", "features"),
        reads_settings=True,
    ),
    Checker(
        "sentences",
        lambda file: _is_text_of(file, SENTENCE_FORMATS),
        lambda config: isinstance(config.spec.task, Captioning | MomentRetrieval),
        run_sentences,
        ("videos", "features"),
    ),
    Checker(
        "features",
        lambda file: file.path.exists() and holds_features(file.path),
        lambda config: False,
        run_features,
        ("videos",),
    ),
    Checker(
        "videos",
        lambda file: True,
        lambda config: isinstance(config.spec.task, Classification | Tagging),
        lambda request, _config, out: run_videos(request, out),
    ),
)
"""All kinds, in the order in which a path is offered to them."""


def run(request: CheckRequest, *, console: Console | None = None) -> None:
    """Check what the request names, print a summary, write the requested files.

    Raises:
        DataError: Something cannot be used; the message counts it and says what to do.
        VideozooError: There is nothing to check, or a result cannot be written.
    """
    config = None if request.source.path is None else request.source.load()
    if request.path is not None:
        refuse_pipe(request.path)
    if config is None and request.path is not None:
        request = replace(request, opened=SegmentFile(request.path))
    checker = _checker_of(request, config)
    _refuse_settings_alone(request, checker)
    for flag in ("videos", "features"):
        if getattr(request, flag) is not None and flag not in checker.compares:
            rooted = (
                "; --config NAME --set data.train=LIST --set data.root=DIR looks for the videos "
            )
            rooted += "of a list in a folder"
            is_list = flag == "videos" and checker.kind == "videos"
            raise UsageError(
                f"--{flag}: nothing to compare {checker.kind} with" + (rooted if is_list else "")
            )
    if request.kind is None and request.path is not None:
        if checker.kind == "videos":
            _refuse_others(request.path, getattr(config.data, "root", None) if config else None)
        elif checker.kind == "sentences":
            _refuse_names(request.opened or TextFile(request.path))
    checker.run(request, config, console or Console())


def _refuse_settings_alone(request: CheckRequest, checker: Checker) -> None:
    """Refuse settings that nothing would read, as there is no configuration to put them in."""
    source = request.source
    if source.path is not None:
        return
    if source.overrides and not checker.reads_settings:
        shown = " ".join(f"--set {one}" for one in source.overrides)
        raise UsageError(
            f"--set needs --config, without which check-data reads no settings; for example "
            f"--config tsn {shown} (`videozoo config list` shows all names)"
        )
    if source.model is not None:
        raise UsageError("--model needs --config, without which check-data reads no settings")


def _checker_of(request: CheckRequest, config: RunConfig | None) -> Checker:
    if config is not None:
        found = next((one for one in CHECKERS if one.reads(config)), None)
        if found is None:
            raise UsageError(
                f"--config {request.source.path}: {config.spec.title} reads nothing that can be "
                "checked; name files, without --config"
            )
        if request.kind not in (None, found.kind):
            raise UsageError(f"--kind {request.kind}: {config.spec.title} reads {found.kind}")
        return found
    path = request.path
    if path is None:
        raise UsageError("nothing to check: name a folder, a list or a file, or --config FILE")
    if request.kind is not None:
        return next(one for one in CHECKERS if one.kind == request.kind)
    file = cast("SegmentFile", request.opened)
    return next(one for one in CHECKERS if one.takes(file))


def _refuse_others(path: Path, root: Path | None) -> None:
    """Raise DataError if a path holds no videos, but files of other kinds of data.

    A list of videos and a file that should be a video are checked as such.
    """
    if path.is_file():
        file = TextFile(path)
        if is_text(path) and lists_class_names(file) and not _has_videos(path, root):
            raise DataError(
                f"{path}: these are names of classes, for data.class_names; none of them is a "
                "video. To check it as a list all the same, add --kind videos"
            )
        if is_text(path) and not file.is_json and _is_unknown_table(file, root):
            raise DataError(
                f"{path}: a table whose columns are not known: "
                f"{few(map(repr, _cells(file)), 12)}; name them as follows. {known_names()}. To "
                "check it as a list of videos all the same, add --kind videos"
            )
        if is_text(path) and not file.is_json and _names_nothing(path, root):
            raise DataError(
                f"{path}: no line names a video that is there, or one with the ending of a video. "
                "Names of classes are for data.class_names; for videos in another folder "
                "--config NAME --set data.train=LIST --set data.root=DIR. To check it as a list of "
                "videos all the same, add --kind videos"
            )
        if is_text(path) and file.is_json and not _is_list(path):
            if (found := format_of(file, result_formats.FORMATS)) is not None:
                raise DataError(
                    f"{path}: results of a model ({found.name}), nothing to train on; `videozoo "
                    "score RESULTS --truth FILE` compares them with the truth"
                )
            formats = (*list_formats.FORMATS, *segment_formats.FORMATS, *SENTENCE_FORMATS)
            raise unknown(f"{path}: nothing that can be checked: {file.seen}", formats, path=path)
        return
    if not path.is_dir() or videos_under(path):
        return
    others = [
        f"{one.name} ({checker.kind})"
        for one in sorted(path.iterdir())
        if one.is_file()
        for checker in CHECKERS[:-1]
        if checker.takes(SegmentFile(one))
    ]
    if others:
        raise DataError(f"{path}: holds no videos; name one of the files in it: {few(others)}")


def _refuse_names(file: TextFile) -> None:
    """Raise DataError if a JSON object from numbers to texts is rather one of class names."""
    if file.is_json and lists_class_names(file):
        raise DataError(
            f"{file.path}: these are names of classes, for data.class_names. To check them as "
            "captions of videos that are called by these numbers all the same, add --kind sentences"
        )


def _is_list(path: Path) -> bool:
    try:
        return format_of(VideoList(path, None), list_formats.FORMATS) is not None
    except DataError:
        return False


def _cells(file: TextFile) -> list[str]:
    """What the first line holds, between commas, semicolons or tabs."""
    mark = delimiter_of(file.heading)
    return [cell.strip().strip('"') for cell in file.heading.split(mark)]


def _is_unknown_table(file: TextFile, root: Path | None) -> bool:
    """Whether the first line is a heading with times, which a list of videos would not use."""
    cells = _cells(file)
    if len(cells) < 2 or not all(map(_COLUMN_NAME.fullmatch, cells)):
        return False
    try:
        lines = list_lines(file.path, root=root, labels="optional", several="as listed")
    except DataError:  # the check of the list says what is wrong
        return False
    if not lines or (lines[0].number > 1 and _has_videos(file.path, root)):
        return False
    if len(cells) > 2 and unused_times(file.path, cells, ""):
        return not _has_videos(file.path, root)
    mark = delimiter_of(file.heading)
    rows = [line.split(mark) for _, line in file.lines[1:]]
    is_wide = [len(row) == len(cells) for row in rows]
    with_number = [any(finite_number(cell) is not None for cell in row) for row in rows]
    is_absent = lines[0].number == 1 and (lines[0].entry is None or lines[0].is_absent)
    return is_absent and bool(rows) and all(is_wide) and all(with_number)


def _names_nothing(path: Path, root: Path | None) -> bool:
    """Whether a plain list names no video that is there, or that looks like the path of one."""
    try:
        lines = list_lines(path, root=root, labels="optional", several="as listed")
    except DataError:
        return False
    names = [line.entry.name for line in lines if line.entry is not None]
    is_path = any(letter in "/\\" or letter.isdigit() for name in names for letter in name)
    is_odd = any(line.may_be_absent or line.entry is None for line in lines)
    return bool(names) and not is_path and not is_odd and not _has_videos(path, root)


def _has_videos(path: Path, root: Path | None) -> bool:
    """Whether a list names any video that exists, or that has the ending of a video."""
    try:
        lines = list_lines(path, root=root, labels="optional", several="as listed")
    except DataError:
        return False
    entries = [(line, line.entry) for line in lines if line.entry is not None]
    return any(
        not line.is_absent or entry.path.suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES
        for line, entry in entries
    )


def _is_text_of(file: SegmentFile, formats: tuple[Format[TextFile, Any], ...]) -> bool:
    """Whether a path has one of some formats, and is no list of videos."""
    path = file.path
    if not path.exists() or path.suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES:
        return False
    try:
        found = format_of(file, formats)
        if found is not None and file.is_folder:  # told by names alone
            return any(True for _ in found.read(file))
        return found is not None and not _lists_files(file)
    except DataError:  # not text, or damaged: whoever reads it says what is wrong
        return False


def _is_of_sentences(file: SegmentFile) -> bool:
    """Whether a file that looks like segments rather has sentences.

    A length of a video alone looks like segments without any; a row with tabs like an export of
    ELAN without a heading.
    """
    cells = file.first_line.split("\t")
    is_row = len(cells) == 4 and len(cells[3].split()) > 1
    is_row = is_row and all(finite_number(cell) is not None for cell in cells[1:3])
    return (file.is_json or is_row) and _is_text_of(file, SENTENCE_FORMATS)


def _lists_files(file: TextFile) -> bool:
    """Whether lines begin with files, as lists of clips do, which some formats resemble."""
    first = file.heading or file.first_line  # after remarks, and `sep=;` of spreadsheets
    if file.is_folder or file.is_json or "##" in first or first[:1] == "<":
        return False
    cells = first.split("\t")
    if len(cells) == 4 and any(map(str.isalpha, cells[3])):  # video, start, end, sentence
        return False
    words = re.sub(r"[,;|]", " ", first).split()
    if not words or len(words) == 1:  # names alone
        return bool(words)
    if len(words) == 3 and all(len(line.split()) == 3 for _, line in file.lines):
        return all(map(str.isdecimal, words[1:]))  # folder, frames, class: no C-TCN list
    if Path(words[0]).suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES:
        return True
    return any(map(os.path.exists, (words[0], file.path.parent / words[0])))

"""Sentences with a start and an end in a video, for captions and for moments.

The same files serve both tasks: captions go from times to a sentence, moments from a sentence to
times. `FORMATS` is the table of known formats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from videozoo.data.annotations import whole_captions
from videozoo.data.annotations.didemo import didemo_sentences, is_didemo
from videozoo.data.annotations.segments import is_of_subset
from videozoo.data.annotations.timed_sentences import CLIP_SECONDS, ClipLabels, ReadState
from videozoo.data.annotations.timed_sentences import TimedSentence as TimedSentence
from videozoo.data.annotations.timed_sentences import TimedSentences as TimedSentences
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.lengths import Stretch, check_ends, check_lengths
from videozoo.data.text import finite_number, of_video
from videozoo.errors import DataError, brief, counted, few
from videozoo.settings.captions import CaptionData
from videozoo.settings.moments import MomentData
from videozoo.settings.shared import Part

_CHARADES = re.compile(r"(\S+)\s+(\S+)\s+(\S+?)\s*##(.*)")
_LONGEST_SECONDS = 86_400.0  # of a video with labelled clips
_LOOKED_AT = 10  # lines that are tried to find the format of a file
_CUT = "What reaches beyond a video is not used; correct the times."


def read_timed_sentences(
    source: Path | TextFile,
    *,
    need_text: bool = True,
    need_times: bool = True,
    whole_videos: bool = False,
) -> TimedSentences:
    """Read a file in any of `FORMATS`.

    Args:
        source: The file, or its path.
        need_text: Refuse empty sentences, and lines or entries without a sentence.
        need_times: Refuse sentences without times (the test part of QVHighlights has none).
        whole_videos: Take sentences that describe whole videos; see `TimedSentence.is_whole`.

    Raises:
        DataError: The file cannot be read, has no known format, or has mistakes, which are listed
            with their places; or it describes whole videos and these are not wanted.
    """
    file = source if isinstance(source, TextFile) else TextFile(source)
    path = file.path
    reading = ReadState(path, need_text, need_times)
    form = format_of(file, FORMATS)
    if form is None:
        segments = isinstance(file.content, dict) and "database" in file.content
        seen = "segments with labels, for BMN and C-TCN" if segments else file.seen
        raise unknown(f"{path}: no sentences with times: {seen}", FORMATS, path=path)
    found = list(form.read(file, reading))
    if reading.problems:
        raise DataError(f"{path}: {few(reading.problems, between='; ')}")
    if not found:
        raise DataError(f"{path}: holds no sentence")
    if not whole_videos and any(one.is_whole for one in found):
        raise DataError(
            f"{path}: {form.name}: describes whole videos and does not tell when something "
            "happens; only captioning can learn from it; this needs sentences with times, such as "
            "those of ActivityNet Captions" + "".join(f"; {note}" for note in reading.notes)
        )
    return TimedSentences(
        path, tuple(found), reading.durations, tuple(reading.notes), reading.saliency, form.name
    ).with_names()


def has_subsets(path: Path) -> bool:
    """Whether a file of sentences names the subset of each; not if it cannot be read."""
    try:
        found = read_timed_sentences(path, need_text=False, need_times=False, whole_videos=True)
    except DataError:
        return False
    return any(one.subset is not None for one in found.sentences)


def of_part(found: TimedSentences, part: Part, data: CaptionData | MomentData) -> TimedSentences:
    """The sentences of one part of a run, where a file holds several subsets.

    By default a part takes the subset of its name; `test` takes that of `val` where both read one
    file. A file without subsets, and one of a single subset that only this part reads, is taken
    whole.

    Args:
        found: The file of the part.
        part: What the sentences are for.
        data: The section; `train_val` as a subset takes both.

    Returns:
        The chosen sentences, with a note on what was taken.

    Raises:
        DataError: No sentence is of the wanted subset, or it is not clear which to take.
    """
    others = {"train": (data.val, data.test), "val": (data.train,), "test": (data.train, data.val)}
    shared = found.path in others[part]
    wanted: str | None = getattr(data, f"{part}_subset")
    as_val = part == "test" and data.test in (None, data.val)
    if as_val and wanted is None:
        wanted = data.val_subset
    subsets = Counter(one.subset for one in found.sentences if one.subset is not None)
    key = f"data.{part}_subset"
    listed = few([f"{name!r} ({counted(count, 'sentence')})" for name, count in subsets.items()])
    if not subsets:
        if wanted is not None:
            raise DataError(f"{found.path}: names no subset, but {key} is {wanted!r}; leave it out")
        return found
    if wanted is None and len(subsets) == 1 and not shared:
        return found
    asked = wanted or ("val" if as_val else part)
    chosen = tuple(
        one for one in found.sentences if one.subset is not None and _is_of(one.subset, asked)
    )
    if not chosen:
        raise DataError(
            f"{found.path}: no sentence is of the subset {asked!r}; it has {listed}; choose one: "
            f"--set {key}=NAME"
        )
    videos = len({one.video for one in chosen})
    note = (
        f"{found.path}: {counted(len(chosen), 'sentence')} of {counted(videos, 'video')} of the "
        f"subset {few(sorted({repr(one.subset) for one in chosen}))} for data.{part}, of {listed}; "
        f"{key} chooses others"
    )
    return replace(found, sentences=chosen, notes=(*found.notes, note))


def described_subsets(
    found: TimedSentences, videos: Iterable[str], wanted: str | None = None
) -> TimedSentences:
    """The part of a file that results are of, where the file names subsets.

    Args:
        found: What is true.
        videos: Names of the videos in the results.
        wanted: The subset to take; None: those that the videos are in.

    Returns:
        The chosen sentences, with a note on what was taken.

    Raises:
        DataError: No sentence is of the wanted subset.
    """
    subsets = dict.fromkeys(one.subset for one in found.sentences if one.subset is not None)
    listed = few(map(repr, subsets))
    if wanted is not None:
        chosen = {name for name in subsets if _is_of(name, wanted)}
        if not chosen:
            has = f"it has {listed}" if subsets else "it names none"
            raise DataError(f"{found.path}: no sentence is of the subset {wanted!r}; {has}")
    else:
        names = {video: video for video in videos}
        chosen = {one.subset for one in found.sentences if of_video(one.video, names)}
    kept = tuple(one for one in found.sentences if one.subset in chosen)
    if not subsets or not kept or len(kept) == len(found.sentences):
        return found
    note = f"{found.path}: {few(sorted(map(repr, chosen)))} is scored, of its subsets {listed}"
    return replace(found, sentences=kept, notes=(*found.notes, note))


def _is_of(subset: str, wanted: str) -> bool:
    """As `is_of_subset`; MSR-VTT calls the subset for validation `validate`."""
    return is_of_subset("validation" if subset.lower() == "validate" else subset, wanted)


def check_times(
    found: TimedSentences,
    seconds: Mapping[str, float],
    *,
    features: Path,
    slack_seconds: float = 0.0,
    advice: str = "",
) -> None:
    """Compare lengths and times in a file with the lengths of the videos by their features.

    Differences of more than a few percent give one warning, which names the worst.

    Args:
        found: The file.
        seconds: Lengths of videos by their features.
        features: Path of the features, for messages.
        slack_seconds: By how much a length by features may be wrong.
        advice: What to do about a difference, if it is known.

    Raises:
        DataError: Most lengths or times do not fit at all.
    """
    given = found.durations
    both = {video: (given[video], s) for video, s in seconds.items() if given.get(video, 0) > 0}
    check_lengths(
        both, source=found.path, features=features, slack_seconds=slack_seconds, advice=advice
    )
    stretches: list[Stretch] = []
    for one in found.sentences:
        length = seconds.get(one.video)
        if length and one.has_times and not one.is_whole:
            end = one.end_seconds if one.end_seconds > length + slack_seconds else length
            stretches.append(Stretch(one.where, one.start_seconds, end, length))
    check_ends(stretches, source=found.path, what="sentences", advice=_CUT)


# --- JSON ------------------------------------------------------------------------------------


def _entries(file: TextFile) -> Iterator[dict[str, Any]]:
    """Entries of the videos in a JSON object, if they have `timestamps`."""
    content = file.content
    for entry in cast("dict[str, Any]", content).values() if isinstance(content, dict) else ():
        if isinstance(entry, dict) and "timestamps" in entry:
            yield entry


def _read_videos(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """If a video has `fps`, its times are in frames."""
    problems = reading.problems
    for video, entry in cast("dict[str, Any]", file.content).items():
        if not isinstance(entry, dict) or "timestamps" not in entry:
            problems.append(f"{video}: expected `timestamps` and `sentences`")
            continue
        entry = cast("dict[str, Any]", entry)
        stamps: Any = entry["timestamps"]
        texts: Any = entry.get("sentences", [])
        if not isinstance(stamps, list) or not isinstance(texts, list):
            problems.append(f"{video}: `timestamps` and `sentences` are not lists")
            continue
        if not reading.need_text and not texts:
            texts = [""] * len(cast("list[Any]", stamps))
        stamps, texts = cast("list[Any]", stamps), cast("list[Any]", texts)
        if len(stamps) != len(texts):
            problems.append(
                f"{video}: {counted(len(stamps), 'timestamp')} for "
                f"{counted(len(texts), 'sentence')}"
            )
            continue
        rate = finite_number(entry.get("fps", 1))
        if rate is None or rate <= 0:
            problems.append(f"{video}: fps is {entry['fps']!r}")
            continue
        length = reading.length(entry.get("duration"), video)
        frames = finite_number(entry.get("num_frames"))
        if length is None and frames is not None:
            length = frames / rate
        if length is not None:
            reading.durations[video] = length
        for number, (stamp, text) in enumerate(zip(stamps, texts, strict=True)):
            place = f"{video}: sentence {number}"
            times = _times(stamp)
            if times is None:
                problems.append(f"{place}: expected [start, end], got {stamp!r}")
            elif reading.is_sentence(text, place):
                yield TimedSentence(
                    video=video,
                    start_seconds=times[0] / rate,
                    end_seconds=times[1] / rate,
                    sentence=" ".join(text.split()),
                    where=f"{reading.path}: {place}",
                )


def _recipes(file: TextFile) -> dict[str, Any]:
    """The videos of a file whose segments have sentences in place of labels."""
    content = file.content
    database: Any = (
        cast("dict[str, Any]", content).get("database") if isinstance(content, dict) else None
    )
    if not isinstance(database, dict):
        return {}
    videos = cast("dict[str, Any]", database)
    described = any("sentence" in segment for one in videos.values() for segment in _segments(one))
    return videos if described else {}


def _segments(video: Any) -> list[dict[str, Any]]:
    listed: Any = (
        cast("dict[str, Any]", video).get("annotations") if isinstance(video, dict) else []
    )
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _read_recipes(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """Videos without annotations, such as those of the test part, are left out.

    Source: youcook2.eecs.umich.edu, youcookii_annotations_trainval.json.
    """
    without = 0
    for video, entry in _recipes(file).items():
        if not isinstance(entry, dict):
            reading.problems.append(f"{video}: expected an object with `annotations`")
            continue
        facts = cast("dict[str, Any]", entry)
        if (length := reading.length(facts.get("duration"), video)) is not None:
            reading.durations[video] = length
        segments = _segments(facts)
        without += not segments
        subset = facts.get("subset")
        for number, one in enumerate(segments):
            place = f"{video}: annotation {number}"
            times = _times(one.get("segment"))
            if times is None:
                reading.problems.append(
                    f"{place}: expected `segment` [start, end], got {one.get('segment')!r}"
                )
            elif reading.is_sentence(one.get("sentence"), place):
                yield TimedSentence(
                    video=video,
                    start_seconds=times[0],
                    end_seconds=times[1],
                    sentence=" ".join(str(one["sentence"]).split()),
                    where=f"{reading.path}: {place}",
                    subset=None if subset is None else str(subset),
                )
    if without:
        reading.notes.append(f"{reading.path}: {counted(without, 'video')} without annotations")


def _is_query(record: object) -> bool:
    return isinstance(record, dict) and {"vid", "query"} <= record.keys()


def _queries(file: TextFile) -> list[tuple[str, Any]]:
    return file.records or [("line 1", file.content)]


def _read_queries(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """A sentence with several moments is yielded once per moment.

    Source: jayleicn/moment_detr, data/README.md.
    """
    problems = reading.problems
    seen: dict[str, str] = {}
    for where, record in _queries(file):
        if not _is_query(record):
            held = ", ".join(cast("dict[str, Any]", record)) if isinstance(record, dict) else record
            problems.append(
                f"{where}: expected an object with `vid`, `query` and `relevant_windows`, as "
                f"QVHighlights has them, got {held}"
            )
            continue
        record = cast("dict[str, Any]", record)
        video, text = str(record["vid"]), record["query"]
        place = f"{where}: {video}"
        windows: Any = record.get("relevant_windows") or []
        times = [_times(one) for one in windows] if isinstance(windows, list) else [None]
        if None in times:
            problems.append(f"{place}: expected relevant_windows [[start, end]], got {windows!r}")
            continue
        if not times and reading.need_times:
            problems.append(
                f"{place}: no `relevant_windows`: training and evaluation need the times of "
                "sentences; prediction does not"
            )
            continue
        if not reading.is_sentence(text, place):
            continue
        length = reading.length(record.get("duration"), place)
        if length is not None:
            reading.durations[video] = length
        query = record.get("qid", where)
        if isinstance(query, bool) or not isinstance(query, int | str):
            problems.append(f"{place}: expected a number as `qid`, got {query!r}")
            continue
        if (first := seen.setdefault(str(query), where)) != where:
            problems.append(f"{place}: qid {query} is already that of {first}")
            continue
        if times and record.get("saliency_scores") is not None:
            labels = _saliency(record, length)
            if isinstance(labels, str):
                problems.append(f"{place}: {labels}")
                continue
            reading.saliency[query] = labels
        for start, end in [one for one in times if one is not None] or [(0.0, 0.0)]:
            yield TimedSentence(
                video=video,
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(text.split()),
                where=f"{reading.path}: {place}",
                has_times=bool(times),
                query=query,
            )


def _saliency(record: Mapping[str, Any], length: float | None) -> ClipLabels | str:
    """Labels of all clips of the video; or what is wrong with those of the file."""
    clips, given = record.get("relevant_clip_ids"), record["saliency_scores"]
    numbers = cast("list[Any]", clips if isinstance(clips, list) else [])
    rows = cast("list[Any]", given if isinstance(given, list) else [])
    labels = [
        [finite_number(one) for one in cast("list[Any]", row)] if isinstance(row, list) else []
        for row in rows
    ]
    widths = {len(row) for row in labels}
    if len(numbers) != len(rows) or len(widths) > 1 or any(None in row for row in labels):
        return (
            "expected `relevant_clip_ids` [number, ...] and for each of them labels of the same "
            "people in `saliency_scores` [[0 to 4, ...], ...], got "
            f"{brief(clips)} and {brief(given)}"
        )
    if length is None:
        return "`saliency_scores` without `duration`: the number of clips is not known"
    if not 0 < length <= _LONGEST_SECONDS:
        return f"`saliency_scores` of a video of {length:g} s, expected at most a day"
    count = max(1, int(length / CLIP_SECONDS))
    kept: list[int] = []
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            return f"expected numbers of clips from 0 in `relevant_clip_ids`, got {brief(number)}"
        if number >= length / CLIP_SECONDS:
            return (
                f"clip {brief(number)} of {CLIP_SECONDS:g} s begins after the end of the video, at "
                f"{length:g} s"
            )
        kept.append(number)
    table = np.array(labels, np.float64).reshape(len(labels), -1 if labels else 1)
    whole = np.array(kept, np.int64) < count  # QVHighlights leaves out an incomplete last clip
    return ClipLabels(
        num_clips=count,
        clips=tuple(number for number in kept if number < count),
        labels=table[whole],
    )


def _times(value: object) -> tuple[float, float] | None:
    """Start and end; None if the value is not a list of two numbers."""
    if not isinstance(value, list):
        return None
    times = [finite_number(one) for one in cast("list[Any]", value)]
    if len(times) != 2 or times[0] is None or times[1] is None:
        return None
    return times[0], times[1]


# --- lines -----------------------------------------------------------------------------------


def _read_charades(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    for number, line in file.lines:
        found = _CHARADES.fullmatch(line)
        if found is None:
            expected = "`VIDEO START END##sentence`"
            reading.problems.append(f"line {number}: expected {expected}, got {line[:60]!r}")
        else:
            yield from _sentence(reading, number, found.groups())


def _are_tabs(file: TextFile) -> bool:
    """Whether lines have tabs, and the first does not name columns of others."""
    if file.first_line.count("\t") < 2 or whole_captions.table_columns(file.heading) is not None:
        return False
    times = [line.split("\t")[1:3] for _, line in file.lines[:_LOOKED_AT]]
    are_numbers = [len(pair) == 2 and all(map(_is_number, pair)) for pair in times]
    return any(map(_is_number, times[0])) or not any(are_numbers)


def _is_number(cell: str) -> bool:
    return finite_number(cell) is not None


def _read_tabs(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """Words are separated by blanks; lines for prediction have no sentence."""
    for number, line in file.lines:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3 and not reading.need_text:
            fields = [*fields, ""]
        if len(fields) != 4:
            expected = "video, start, end and sentence with tabs between them"
            reading.problems.append(f"line {number}: expected {expected}, got {line[:60]!r}")
        else:
            yield from _sentence(reading, number, fields, tokenised=True)


def _sentence(
    reading: ReadState, number: int, fields: Sequence[str], *, tokenised: bool = False
) -> Iterator[TimedSentence]:
    """The sentence of a line, if it can be used."""
    video, start, end, text = fields
    place = f"line {number}"
    times = finite_number(start), finite_number(end)
    if times[0] is None or times[1] is None:
        reading.problems.append(f"{place}: expected seconds, got {start!r} and {end!r}")
    elif reading.is_sentence(text, place, tokenised=tokenised):
        yield TimedSentence(
            video=video,
            start_seconds=times[0],
            end_seconds=times[1],
            sentence=" ".join(text.split()),
            where=f"{reading.path}: {place}",
            tokenised=tokenised,
        )


FORMATS: tuple[Format[TextFile, Callable[[TextFile, ReadState], Iterator[TimedSentence]]], ...] = (
    Format(
        "YouCook2",
        lambda file: bool(_recipes(file)),
        _read_recipes,
        '{"database": {"a": {"duration": 9, "subset": "training", "annotations": '
        '[{"id": 0, "segment": [1, 2.5], "sentence": "A man runs."}]}}}',
        "youcookii_annotations_trainval.json",
        about="steps of recipes with start and end in seconds; the subset is named",
        source="http://youcook2.eecs.umich.edu/download",
    ),
    Format(
        "QVHighlights",
        lambda file: any(_is_query(record) for _, record in _queries(file)),
        _read_queries,
        '{"qid": 1, "query": "A man runs.", "vid": "a", "duration": 9, "relevant_windows": '
        '[[1, 2.5]], "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 1, 3], [2, 2, 4]]}\n',
        "highlight_train.jsonl",
        about="sentences with one or several moments each, and labels of salient clips",
        source="https://github.com/jayleicn/moment_detr/blob/main/data/README.md",
    ),
    Format(
        "DiDeMo",
        is_didemo,
        didemo_sentences,
        '[{"annotation_id": 1, "video": "a.mp4", "description": "A man runs.", "num_segments": 6, '
        '"times": [[1, 2], [1, 2], [0, 0], [1, 2]]}]',
        "train_data.json",
        about="moments in cells of five seconds, as several people marked them; those count that "
        "two people or more agree on",
        source="https://github.com/LisaAnne/LocalizingMoments, README",
    ),
    Format(
        "TACoS",
        lambda file: any("fps" in entry for entry in _entries(file)),
        _read_videos,
        '{"a": {"fps": 10, "num_frames": 90, "timestamps": [[10, 25]], '
        '"sentences": ["A man runs."]}}',
        "train.json",
        about="moments in frames, with the frame rate of each video, as VSLNet prepares them",
        source="https://github.com/26hzhang/VSLNet",
    ),
    Format(
        "ActivityNet Captions",
        lambda file: any(_entries(file)),
        _read_videos,
        '{"a": {"duration": 9, "timestamps": [[1, 2.5]], "sentences": ["A man runs."]}}',
        "train.json",
        about="events of a video in seconds, and a sentence for each",
        source="https://cs.stanford.edu/people/ranjaykrishna/densevid",
    ),
    Format(
        "Charades-STA",
        lambda file: any(_CHARADES.fullmatch(line) for _, line in file.lines[:_LOOKED_AT]),
        _read_charades,
        "a 1.0 2.5##A man runs.\n",
        "charades_sta_train.txt",
        about="lines of a video, the start and end of a moment in seconds, and its sentence",
        source="https://github.com/jiyanggao/TALL",
    ),
    Format(
        "ETS list of the 2019 library, tabs between fields",
        _are_tabs,
        _read_tabs,
        "a\t1.0\t2.5\tA man runs.\n",
        "train.list",
        about="lines of a video, start and end in seconds, and words separated by blanks",
        source="PaddlePaddle/models release/1.8, ets_reader",
    ),
    *whole_captions.FORMATS,
)
"""Formats of files of sentences: with times, or of whole videos."""

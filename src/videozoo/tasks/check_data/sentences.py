"""Check sentences with times, and with a configuration all that a model of sentences reads."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    read_timed_sentences,
)
from videozoo.data.captions import (
    build_vocabulary,
    count_unknown,
    load_events,
    part_path,
    read_vocabulary,
    words_of,
)
from videozoo.data.formats import TextFile
from videozoo.data.moments import holds_vectors, load_readable_moments, load_windows
from videozoo.errors import DataError, UsageError, VideozooError, counted, few
from videozoo.settings.moments import GIVEN, HASHED
from videozoo.settings.shared import Part
from videozoo.tasks.check_data.beside import Beside, look_beside, run_beside
from videozoo.tasks.check_data.findings import (
    MOST_STRANGE,
    STRANGE,
    Findings,
    shared_notes,
    spread_of,
)
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.tasks.check_data.timed import (
    Entry,
    TimedFile,
    add_repeats,
    add_strangest,
    add_times,
)
from videozoo.types import Captioning

_PARTS: tuple[Part, ...] = ("train", "val", "test")


def run_sentences(request: CheckRequest, config: RunConfig | None, out: Console) -> None:
    """Check a file of sentences, or all that a configuration names.

    Raises:
        DataError: Something cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """

    def checked(path: Path, beside: Beside) -> tuple[Findings, dict[str, float]]:
        found, read = sentence_findings(path, beside, request.opened)
        return found, {} if read is None else read.durations

    run_beside(
        *(request, config, out),
        kind="sentences",
        holds="sentences",
        checked=checked,
        configured=_configured,
    )


# --- a file of sentences ---------------------------------------------------------------------


def sentence_findings(
    path: Path, beside: Beside, opened: TextFile | None = None
) -> tuple[Findings, TimedSentences | None]:
    """Check a file of sentences; `opened` is the same, where its text is read already.

    Returns:
        What was found, and the file, if it can be read.
    """
    found = Findings(kind="sentences", name=str(path))
    try:
        read = _read(opened or TextFile(path), found)
    except DataError as error:
        found.problems.append(str(error))
        return found, None
    found.notes += read.notes
    timed = [one for one in read.sentences if one.has_times and not one.is_whole]
    distinct, without = read.distinct, len(read) - len(timed)
    found.lines.append(
        f"{read.form}: {counted(len(distinct), 'sentence')} of "
        f"{counted(len(read.videos), 'video')}"
        + (f", {counted(len(timed), 'moment')}" if len(distinct) < len(read) else "")
        + (f", {without:,} without times" if without else "")
    )
    words = [len(words_of(one)) for one in distinct]
    found.lines.append(f"words of a sentence: {spread_of(words)}")
    found.facts |= {
        "format": read.form,
        "videos": len(read.videos),
        "sentences": len(distinct),
        "moments": len(timed),
        "without_times": without,
    }
    file = TimedFile(
        path=path,
        noun="sentence",
        videos=dict.fromkeys(read.videos),
        seconds=beside.lengths(read.durations),
        entries=[
            Entry(
                one.video,
                one.start_seconds,
                one.end_seconds,
                one.sentence,
                _place(one),
            )
            for one in timed
        ],
    )
    if timed:
        add_times(found, file)
        add_repeats(found, file, overlaps=False)
        add_strangest(found, file)
    found.strangest = [*found.strangest[: MOST_STRANGE - 1], *_strange_words(distinct, words)]
    found.strangest = found.strangest[:MOST_STRANGE]
    found.notes += _everywhere(read)
    beside.compare(found, path, read.videos, read.durations)
    return found, read


def _place(one: TimedSentence) -> str:
    place = one.where.partition(": ")[2]
    return place if one.video in place else f"{place}, {one.video}"


def _read(file: TextFile, found: Findings) -> TimedSentences:
    """Read a file; sentences without times or words are notes, as long as the rest can be read."""
    try:
        return read_timed_sentences(file, whole_videos=True)
    except DataError as error:
        wrong = error
    try:
        read = read_timed_sentences(file, need_text=False, need_times=False, whole_videos=True)
    except DataError:
        raise wrong from None
    if all(one.has_times for one in read.sentences):
        found.problems.append(str(wrong))
    else:
        found.notes.append(f"for prediction only: {wrong}")
    return read


def _strange_words(sentences: Sequence[TimedSentence], words: Sequence[int]) -> list[str]:
    usual = statistics.median(words)
    if max(words) <= STRANGE * usual:
        return []
    one, count = max(zip(sentences, words, strict=True), key=lambda each: each[1])
    text = f"{_place(one)}, {count:,}, where the median is {usual:g}: {one.sentence[:60]!r}"
    return [f"most words: {text}"]


def _everywhere(read: TimedSentences) -> list[str]:
    """A note on sentences that many videos share word for word."""
    videos: dict[str, set[str]] = {}
    for one in read.sentences:
        videos.setdefault(one.sentence.casefold(), set()).add(one.video)
    counts = Counter({text: len(names) for text, names in videos.items() if len(names) > 1})
    if not counts:
        return []
    text, count = counts.most_common(1)[0]
    return [
        f"{counted(len(counts), 'sentence')} that several videos share word for word, most often "
        f"{text[:60]!r} ({count:,} videos)"
    ]


# --- a configuration -------------------------------------------------------------------------


def _configured(request: CheckRequest, config: RunConfig) -> list[Findings]:
    if request.path is not None:
        raise UsageError(
            f"{config.spec.title} reads features and sentences, which its configuration names; "
            "leave out the path"
        )
    data, task = config.data, config.spec.task
    named: dict[Part, Path] = {
        part: path for part in _PARTS if (path := getattr(data, part)) is not None
    }
    if not named:
        raise DataError(
            "this configuration names no sentences; name a file of them, or --set data.train=FILE"
        )
    beside, found = _beside(request, config), list[Findings]()
    annotated: dict[str, float] = {}
    videos: dict[str, Sequence[str]] = {}
    seen: dict[Path, TimedSentences] = {}
    for part, path in named.items():
        if isinstance(task, Captioning) or not holds_vectors(path):
            one, read = sentence_findings(path, beside)
        else:
            one, read = Findings(kind="sentences", name=str(path)), None
        one.name = f"data.{part}: {path}"
        if not one.problems and data.videos is None:
            _try_part(config, part, one)
        if read is not None:
            seen[path] = read
            annotated |= read.durations
            videos[f"data.{part}"] = read.videos
        found.append(one)
    if isinstance(task, Captioning):
        _check_words(data, seen, found)
    found[-1].notes += shared_notes(videos)
    said = [problem for one in found for problem in one.problems]
    return [*found, *beside.findings(annotated, said=said)]


def _beside(request: CheckRequest, config: RunConfig) -> Beside:
    data = config.data
    dim: int | None = None
    if isinstance(config.spec.task, Captioning):
        dim = config.model.feature_dim
    elif config.model.visual_dim % 3 == 0:
        dim = config.model.visual_dim // 3
    try:
        return look_beside(
            request,
            videos=request.videos or data.videos,
            features=request.features or data.features,
            streams=data.streams,
            feature_dim=dim,
            rate=data.rate,
        )
    except DataError:  # each part says why
        return Beside()


def _try_part(config: RunConfig, part: Part, found: Findings) -> None:
    """Read a part as a run does."""
    data, model = config.data, config.model
    try:
        if isinstance(config.spec.task, Captioning):
            events = load_events(data, part, feature_dim=model.feature_dim)
            found.notes += [note for note in events.notes if note not in found.notes]
            if events.empty:
                count = counted(len(events.empty), "sentence")
                line = f"{count} without a vector of its video, e.g. {events.empty[0]}"
                (found.notes if data.outside == "skip" else found.problems).append(line)
            return
        if data.sentences.encoder not in (HASHED, GIVEN):  # others may have to be downloaded
            load_windows(data, part, visual_dim=model.visual_dim)
            return
        moments = load_readable_moments(
            data, part, visual_dim=model.visual_dim, sentence_dim=model.sentence_dim
        )
        found.facts |= {"used": len(moments)}
        found.problems += moments.damaged.values()
        found.notes += [note for note in moments.notes if note not in found.notes]
        if moments.missing:
            found.notes.append(
                f"no windows of {counted(len(moments.missing), 'video')}: {few(moments.missing)}"
            )
        if moments.left_out:
            found.notes.append(
                f"left out: {counted(len(moments.left_out), 'sentence')}, e.g. "
                f"{moments.left_out[0]}"
            )
    except VideozooError as error:
        found.problems.append(str(error))


def _check_words(data: Any, seen: dict[Path, TimedSentences], found: list[Findings]) -> None:
    """Compare the words of each part with the vocabulary."""
    train = part_path(data, "train")
    try:
        if data.vocabulary is not None:
            words = read_vocabulary(data.vocabulary)
        elif train in seen:
            words = build_vocabulary(seen[train].sentences, min_count=data.min_word_count)
        else:
            return
    except DataError as error:
        found[0].problems.append(str(error))
        return
    found[0].lines.append(f"vocabulary: {counted(len(words), 'word')}")
    for one in found:
        for path, read in seen.items():
            if one.name.endswith(f": {path}"):
                unknown = count_unknown(read.sentences, words)
                one.notes += [unknown.note] if unknown.note else []

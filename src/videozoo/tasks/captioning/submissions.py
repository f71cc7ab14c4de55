"""Results of captioning: scored against the sentences of people, by any model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from videozoo.data.annotations.caption_results import read_caption_results
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    described_subsets,
    read_timed_sentences,
)
from videozoo.data.text import of_video
from videozoo.errors import DataError, UsageError, counted, few
from videozoo.metrics.captions import (
    Meteor,
    TimedCaption,
    dense_caption_scores,
    event_scores,
    has_java,
)

_SAME_SECONDS = 0.006  # times that are written with two digits


@dataclass(frozen=True, kw_only=True)
class CaptionSubmissionScores:
    """Scores of results of captioning, and what to know about them."""

    metrics: Mapping[str, float]
    """Each event or video against all that people say of it; empty if the results have other
    events than the truth."""
    dense: Mapping[str, float]
    """Dense captioning, mean over the tIoU thresholds; empty for whole videos."""
    compared: int
    """Events or videos that `metrics` compare."""
    references: int
    """Sentences of people that `metrics` compare with."""
    notes: tuple[str, ...]


def score_captions(
    path: Path, truths: Sequence[Path], *, meteor: bool = True, subset: str | None = None
) -> CaptionSubmissionScores:
    """Score captions of events or of whole videos, without any model.

    How to call it: `score_captions(results, [Path("val_1.json"), Path("val_2.json")])` for
    ActivityNet Captions, `score_captions(results, [Path("videodatainfo.json")])` for MSR-VTT. The
    numbers are those of `videozoo eval`: see `metrics.captions.event_scores` for several
    references, and `dense_caption_scores` for events.

    Args:
        path: The results: `{"results": {VIDEO: [{"timestamp", "sentence"}]}}` or, for whole videos,
            also COCO's list or any other form of captions.
        truths: Files of what people say, one per person for events.
        meteor: METEOR too, where there is Java.
        subset: Subset of the truth; by default those that the results are of.

    Raises:
        DataError: A file cannot be used, or the results describe no video of the truth.
        RunError: pycocoevalcap is not installed, or Java fails.
    """
    if not truths:
        raise UsageError("no file of sentences of people; name one or more")
    ours = read_caption_results(path)
    return score_sentences(ours, [_read(each) for each in truths], meteor=meteor, subset=subset)


def score_sentences(
    ours: TimedSentences,
    truths: Sequence[TimedSentences],
    *,
    meteor: bool = True,
    subset: str | None = None,
) -> CaptionSubmissionScores:
    """As `score_captions`, for sentences that are read already."""
    notes: list[str] = []
    files = [described_subsets(each, ours.videos, subset) for each in truths]
    for file in files:
        notes += file.notes
        if not any(of_video(video, _names(file)) for video in ours.videos):
            raise DataError(
                f"{ours.path}: describes none of the {counted(len(file.videos), 'video')} of "
                f"{file.path}; it has {few(ours.videos, 3)}, expected such as "
                f"{few(file.videos, 3)}"
            )
    has_meteor = meteor and has_java()
    if meteor and not has_meteor:
        notes.append("no METEOR: it needs Java (Debian, Ubuntu: default-jre-headless)")
    is_whole = [bool(file.num_whole) for file in files]
    if any(is_whole) and not all(is_whole):
        raise DataError(
            f"{files[is_whole.index(True)].path} describes whole videos and "
            f"{files[is_whole.index(False)].path} events; they cannot be compared with one file"
        )
    score = _whole_videos if all(is_whole) else _events
    return score(ours, files, has_meteor, notes)


def _read(path: Path) -> TimedSentences:
    return read_timed_sentences(path, whole_videos=True)


def _names(file: TimedSentences) -> dict[str, str]:
    return {video: video for video in file.videos}


def _whole_videos(
    ours: TimedSentences, files: Sequence[TimedSentences], meteor: bool, notes: list[str]
) -> CaptionSubmissionScores:
    references: dict[str, list[str]] = {}
    for file in files:
        for one in file.sentences:
            references.setdefault(one.video, []).append(one.sentence)
    said: dict[str, list[str]] = {}
    for one in ours.sentences:
        said.setdefault(one.video, []).append(one.sentence)
    answers = {video: of_video(video, said) for video in references}
    missing = [video for video, texts in answers.items() if texts is None]
    if missing:
        notes.append(
            f"{len(missing):,} of {counted(len(references), 'video')} without a caption: counted "
            f"as an empty one ({few(missing, 3)})"
        )
    names = {video: video for video in references}
    extra = [video for video in said if of_video(video, names) is None]
    if extra:
        notes.append(f"{counted(len(extra), 'video')} that the truth does not have: not scored")
    several = sum(len(texts or ()) > 1 for texts in answers.values())
    if several:
        notes.append(f"{counted(several, 'video')} with several captions: the first counts")
    with ExitStack() as stack:
        scorer = stack.enter_context(Meteor()) if meteor else None
        found = event_scores(
            [texts[0] if texts else "" for texts in answers.values()],
            list(references.values()),
            meteor=scorer,
        )
    return CaptionSubmissionScores(
        metrics=found.scores.corpus,
        dense={},
        compared=len(references),
        references=sum(len(texts) for texts in references.values()),
        notes=tuple(filter(None, (*notes, found.note))),
    )


def _events(
    ours: TimedSentences, files: Sequence[TimedSentences], meteor: bool, notes: list[str]
) -> CaptionSubmissionScores:
    if ours.num_whole:
        raise DataError(
            f"{ours.path}: describes whole videos, but {files[0].path} events; expected captions "
            'with times: {"results": {"a": [{"timestamp": [1, 2.5], "sentence": "A man runs."}]}}'
        )
    known = {name: name for file in files for name in file.videos}
    named = {video: of_video(video, known) or video for video in ours.videos}
    notes += filter(None, map(_reversed, (ours, *files)))
    predictions = _timed(replace(one, video=named[one.video]) for one in ours.sentences)
    missing = [video for video in known if video not in predictions]
    if missing:
        notes.append(
            f"{len(missing):,} of {counted(len(known), 'video')} without a caption: their scores "
            f"are 0 ({few(missing, 3)})"
        )
    dense = dense_caption_scores(
        predictions, [_timed(file.sentences) for file in files], meteor=meteor
    )
    pairs = _pairs(predictions, files[0])
    metrics: Mapping[str, float] = {}
    if pairs:
        with ExitStack() as stack:
            scorer = stack.enter_context(Meteor()) if meteor else None
            texts, truths = [text for text, _ in pairs], [[truth] for _, truth in pairs]
            metrics = event_scores(texts, truths, meteor=scorer).scores.corpus
    return CaptionSubmissionScores(
        metrics=metrics,
        dense=dense.average,
        compared=len(pairs),
        references=len(pairs),
        notes=tuple(filter(None, (*notes, dense.note))),
    )


def _reversed(file: TimedSentences) -> str:
    """A note on events that overlap nothing, and so match nothing; the real files have a few."""
    found = [one.where for one in file.sentences if one.end_seconds <= one.start_seconds]
    if not found:
        return ""
    return (
        f"{counted(len(found), 'event')} with an end that is not after the start, which match no "
        f"other: {few(found, 3)}"
    )


def _timed(sentences: Iterable[TimedSentence]) -> dict[str, list[TimedCaption]]:
    found: dict[str, list[TimedCaption]] = {}
    for one in sentences:
        caption = TimedCaption(one.start_seconds, one.end_seconds, one.sentence)
        found.setdefault(one.video, []).append(caption)
    return found


def _pairs(
    predictions: Mapping[str, Sequence[TimedCaption]], truth: TimedSentences
) -> list[tuple[str, str]]:
    """The caption of each true event and what people say, if all predictions are of such events."""
    left = {video: list(captions) for video, captions in predictions.items()}
    pairs: list[tuple[str, str]] = []
    for one in truth.sentences:
        listed = left.get(one.video, [])
        place = next((n for n, caption in enumerate(listed) if _is_same(caption, one)), None)
        if place is not None:
            pairs.append((listed.pop(place).sentence, one.sentence))
    described = {one.video for one in truth.sentences}
    return [] if any(left[video] for video in described if video in left) else pairs


def _is_same(caption: TimedCaption, event: TimedSentence) -> bool:
    return (
        abs(caption.start_seconds - event.start_seconds) < _SAME_SECONDS
        and abs(caption.end_seconds - event.end_seconds) < _SAME_SECONDS
    )

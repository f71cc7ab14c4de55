"""Submissions of QVHighlights: written, and scored against a file of sentences, by any model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.moment_results import (
    MomentAnswer,
    read_submission,
    write_submission,
)
from videozoo.data.annotations.segment_types import name_in, names_at
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    described_subsets,
    read_timed_sentences,
)
from videozoo.data.annotations.timed_sentences import CLIP_SECONDS
from videozoo.data.moments import Unit
from videozoo.data.text import spelt_in
from videozoo.errors import DataError, counted, few
from videozoo.metrics.moments import (
    MOST_MOMENTS,
    DidemoScores,
    QVHighlightsScores,
    Saliency,
    Search,
    didemo,
    qvhighlights,
)
from videozoo.tasks.jobs import Job, ResultFile
from videozoo.tasks.moments.scoring import QueryMoments


@dataclass(frozen=True, kw_only=True)
class SubmissionScores:
    """Scores of a submission, and what to know about them."""

    scores: QVHighlightsScores
    searches: tuple[Search, ...]
    """One per sentence with a true moment; without an answer it has no moments."""
    notes: tuple[str, ...]
    form: str = ""
    """Name of the format of the truth."""
    didemo: DidemoScores | None = None
    """Where the truth is what several people marked."""


def score_submission(path: Path, truth: Path) -> SubmissionScores:
    """Score the moments and the highlights of a submission of QVHighlights, without any model.

    How to call it: `score_submission(Path("predictions.jsonl"), Path("highlight_val.jsonl"))`;
    `.scores.published` are the numbers of papers, in percent.

    Args:
        path: The submission: JSON lines with `qid`, `vid`, `pred_relevant_windows` and, if the
            model has them, `pred_saliency_scores`.
        truth: Sentences with their moments, in any format. Entries belong together by `qid`; where
            the truth has none, by video and sentence.

    Raises:
        DataError: A file cannot be used, or the submission answers none of the sentences.
    """
    return score_answers(path, read_submission(path), truth)


def score_answers(path: Path, answers: Sequence[MomentAnswer], truth: Path) -> SubmissionScores:
    """As `score_submission`, for answers from a file of any kind; an empty `query` is none."""
    said = read_timed_sentences(truth, need_times=False)
    answers = _named_as(said.videos, answers, path)
    said = described_subsets(said, [one.video for one in answers])
    has_ids = all(one.query is not None for one in said.sentences) and all(
        one.query != "" for one in answers
    )
    groups = _groups(said, by_query=has_ids)
    key_of: Callable[[MomentAnswer], object] = (
        (lambda one: str(one.query)) if has_ids else (lambda one: _words(one.video, one.sentence))
    )
    found: dict[object, MomentAnswer] = {}
    for one in answers:
        found.setdefault(key_of(one), one)
    wanted = {
        str(key) if has_ids else key: (group[0].query, group) for key, group in groups.items()
    }
    shared = [key for key in wanted if key in found]
    by = "`qid`" if has_ids else "video and sentence"
    if not shared:
        raise DataError(
            f"{path}: answers none of the {counted(len(wanted), 'sentence')} of {truth}, compared "
            f"by {by}; it has {few([_name(one) for one in answers], 3)}, expected such as "
            f"{few([_name_of(group[0]) for _, group in wanted.values()], 3)}"
        )
    _refuse_other_videos(path, truth, [(found[key], wanted[key][1][0]) for key in shared])
    has_clips = any(one.saliency is not None for one in found.values()) and said.saliency
    searches: list[Search] = []
    marked: list[Search] = []
    saliencies: list[Saliency] = []
    for key, (query, group) in wanted.items():
        answer = found.get(key)
        searches.append(_search(answer, group))
        if group[0].marked:
            marked.append(replace(searches[-1], truth=np.array(group[0].marked)))
        labels = said.saliency.get(query) if isinstance(query, int | str) else None
        if has_clips and labels is not None:
            given = None if answer is None else answer.saliency
            saliencies.append(Saliency(np.zeros(0) if given is None else given, labels.table))
    scores = qvhighlights(searches, saliencies)
    notes = [*said.notes, *_notes(answers, found, wanted, shared, scores, said)]
    if (alike := len(said.distinct) - len(wanted)) > 0:
        notes.append(
            f"{truth}: {counted(len(said.distinct), 'sentence')}, {alike:,} of them with the words "
            "of another of its video: by words they are one, and any of its moments is right"
        )
    known = tuple(one for one in searches if len(one.true_moments))
    return SubmissionScores(
        scores=scores,
        searches=known,
        notes=tuple(notes),
        form=said.form,
        didemo=didemo(marked) if marked else None,
    )


# ---- of our own models --------------------------------------------------------------------------


def answer_of(found: QueryMoments, number: int, *, limit: float | None) -> MomentAnswer:
    """What a model found for a sentence, as a submission holds it.

    Where the sentence is one of QVHighlights, clips get scores too: that of the best moment over
    the middle of each. No model here is trained for them.

    Args:
        found: Moments in seconds.
        number: Its number in the file, where the data set gives it no identifier.
        limit: Remove moments whose tIoU with a better one is above this; None: keep all.
    """
    best = found.top(MOST_MOMENTS, limit=limit)
    identifier = found.query.identifier
    return MomentAnswer(
        query=number if identifier is None else identifier,
        video=found.video,
        sentence=found.query.sentence,
        moments=np.array([(one.start, one.end) for one in best], np.float64).reshape(-1, 2),
        scores=np.array([one.score for one in best], np.float64),
        saliency=None if identifier is None else _clip_scores(found),
    )


def _clip_scores(found: QueryMoments) -> NDArray[np.float64] | None:
    """(C,): for each clip of the video the score of the best moment over its middle."""
    scores = np.asarray(found.search.scores, np.float64)
    if found.length is None or not len(scores) or not np.isfinite(scores).all():
        return None
    middles = (np.arange(max(1, int(found.length / CLIP_SECONDS))) + 0.5) * CLIP_SECONDS
    starts, ends = np.asarray(found.search.moments, np.float64).T[..., None]
    covers = (starts <= middles) & (middles < ends)
    return np.where(covers, scores[:, None], scores.min()).max(0)


def submission_file(
    job: Job[Any],
    name: str | None,
    found: Callable[[], Sequence[QueryMoments]],
    *,
    limit: float | None,
    unit: Unit,
) -> ResultFile | None:
    """The file in the form of QVHighlights; None if its name is not set, or times are in frames."""
    if name is None or unit != "seconds":
        return None
    return ResultFile(
        job.files_folder / name,
        lambda path: write_submission(
            path, [answer_of(one, number, limit=limit) for number, one in enumerate(found())]
        ),
    )


def scores_of(found: Sequence[QueryMoments], *, limit: float | None) -> QVHighlightsScores:
    """Scores of QVHighlights for what a model found; highlights where clips are labelled."""
    searches: list[Search] = []
    saliencies: list[Saliency] = []
    for number, one in enumerate(found):
        answer = answer_of(one, number, limit=limit)
        searches.append(Search(answer.moments, answer.scores, one.search.truth))
        if one.query.saliency is not None and one.unit == "seconds":
            scores = np.zeros(0) if answer.saliency is None else answer.saliency
            saliencies.append(Saliency(scores, one.query.saliency.table))
    return qvhighlights(searches, saliencies)


def didemo_of(found: Sequence[QueryMoments]) -> DidemoScores | None:
    """Scores of DiDeMo for what a model found; None where nobody marked moments in cells."""
    marked = [
        replace(one.search, truth=np.array(one.query.marked))
        for one in found
        if one.query.marked and one.unit == "seconds"
    ]
    return didemo(marked) if marked else None


# ---- of any model -------------------------------------------------------------------------------


def _groups(said: TimedSentences, *, by_query: bool) -> Mapping[object, Sequence[TimedSentence]]:
    """Sentences that belong together: by their identifier, or by video and words."""
    groups: dict[object, list[TimedSentence]] = {}
    for one in said.sentences:
        key = one.query if by_query else _words(one.video, one.sentence)
        groups.setdefault(key, []).append(one)
    return groups


def _named_as(
    known: Collection[str], answers: Sequence[MomentAnswer], path: Path
) -> list[MomentAnswer]:
    """Answers with the names of their videos in the truth, where it has them."""
    names = names_at([one.video for one in answers], path)
    found = {at: name_in(known, name, at) for at, name in names.items()}
    own = {at: spelt_in(name, known) or name for at, name in found.items()}
    return [replace(one, video=own[one.video]) for one in answers]


def _words(video: str, sentence: str) -> tuple[str, str]:
    return video, " ".join(sentence.lower().split()).strip(" .")


def _search(answer: MomentAnswer | None, group: Sequence[TimedSentence]) -> Search:
    truth = [(one.start_seconds, one.end_seconds) for one in group if one.has_times]
    moments: NDArray[np.float64] = np.zeros((0, 2)) if answer is None else answer.moments
    scores = np.zeros(0) if answer is None else answer.scores
    return Search(moments, scores, np.array(truth, np.float64).reshape(-1, 2))


def _name(one: MomentAnswer) -> str:
    return f"{one.query} ({one.video}: {one.sentence[:40]!r})"


def _name_of(one: TimedSentence) -> str:
    return f"{one.query or one.where} ({one.video}: {one.sentence[:40]!r})"


def _refuse_other_videos(
    path: Path, truth: Path, pairs: Sequence[tuple[MomentAnswer, TimedSentence]]
) -> None:
    other = [(ours, theirs) for ours, theirs in pairs if ours.video != theirs.video]
    if other:
        ours, theirs = other[0]
        raise DataError(
            f"{ours.where}: qid {ours.query} is about {ours.video}, but about {theirs.video} in "
            f"{truth}, as with {counted(len(other), 'sentence')} of {path}; are they of the same "
            "data set?"
        )


def _notes(
    answers: Sequence[MomentAnswer],
    found: Mapping[object, MomentAnswer],
    wanted: Mapping[Any, object],
    shared: Sequence[object],
    scores: QVHighlightsScores,
    said: TimedSentences,
) -> list[str]:
    notes: list[str] = []
    total = counted(len(wanted), "sentence")
    if len(shared) < len(wanted):
        notes.append(
            f"{len(wanted) - len(shared)} of {total} without an answer: counted as misses; "
            "the data set's own code refuses such a submission"
        )
    if extra := len(answers) - len(shared):
        notes.append(f"{counted(extra, 'answer')} to sentences that the truth does not have")
    if scores.without_truth:
        notes.append(f"{scores.without_truth} of {total} without a true moment: left out")
    unordered = sum(not one.is_ranked for one in found.values())
    if unordered:
        notes.append(
            f"{counted(unordered, 'answer')} with a moment before one of a higher score: the "
            "one that is listed first counts for R@1, as in the data set's own code"
        )
    lengths = [
        (one.saliency, said.saliency[key])
        for one in found.values()
        if one.saliency is not None
        for key in (one.query, str(one.query))
        if key in said.saliency
    ]
    uneven = sum(abs(len(ours) - theirs.num_clips) > 1 for ours, theirs in lengths)
    if uneven:
        notes.append(
            f"{counted(uneven, 'answer')} with a number of scores of clips that does not "
            "fit the length of the video: those beyond it are ignored, missing ones are 0"
        )
    return notes

"""Score sentences of events and of whole videos."""

from __future__ import annotations

from rich.console import RenderableType

from videozoo.data.annotations.result_formats import CaptionResults, sentences_in_lines
from videozoo.data.annotations.sentences import TimedSentences, read_timed_sentences
from videozoo.errors import DataError, UsageError, counted
from videozoo.report.tables import summary_table
from videozoo.tasks.captioning.submissions import score_sentences
from videozoo.tasks.score.request import Scored, ScoreRequest


def score_sentence_results(results: CaptionResults, request: ScoreRequest) -> Scored:
    """Measure sentences: BLEU, ROUGE-L, CIDEr and METEOR; with times also as dense captions.

    Raises:
        DataError: The truth cannot be read, or the two files do not fit.
        RunError: pycocoevalcap is not installed, or Java fails.
    """
    request.check_reading_unused()
    if request.tious:
        raise UsageError("--tious is for segments and moments; sentences have 0.3, 0.5, 0.7, 0.9")
    truths = [_truth(results, request, number) for number in range(len(request.truth))]
    found = score_sentences(results.sentences, truths, subset=request.subset)
    what = "event" if found.dense else "line" if results.in_lines else "video"
    tables: list[RenderableType] = []
    if found.metrics:
        title = f"Each {what} against what people say of it"
        tables.append(summary_table(found.metrics, title=title))
    if found.dense:
        title = "Dense captioning: mean over tIoU 0.3 to 0.9"
        tables.append(summary_table(found.dense, title=title))
    return Scored(
        truth=_name(results, request, truths[0]),
        facts={
            "kind": "captions",
            "compared": found.compared,
            "references": found.references,
            "metrics": dict(found.metrics),
            "dense": dict(found.dense),
        },
        tables=tables,
        notes=[
            *found.notes,
            *(
                [f"{counted(found.compared, what)}, {counted(found.references, 'sentence')}"]
                if found.metrics
                else ["no scores by event: the results have events of their own"]
            ),
        ],
    )


def _truth(results: CaptionResults, request: ScoreRequest, number: int) -> TimedSentences:
    path = request.truth[number]
    if not results.in_lines:
        return read_timed_sentences(path, whole_videos=True)
    truth, ours = sentences_in_lines(path), results.sentences
    if len(truth) != len(ours):
        raise DataError(
            f"{path}: {counted(len(truth), 'line')}, but {request.results} has "
            f"{counted(len(ours), 'line')}; a line of one belongs to the same line of the other"
        )
    return truth


def _name(results: CaptionResults, request: ScoreRequest, truth: TimedSentences) -> str:
    if results.in_lines:
        return f"text, one sentence per line ({counted(len(request.truth), 'file')})"
    return truth.form or "sentences"

"""Score moments that were found for sentences."""

from __future__ import annotations

from videozoo.data.annotations.result_formats import MomentResults
from videozoo.errors import UsageError, counted
from videozoo.metrics.moments import mean_tiou
from videozoo.report.tables import percent, recall_table
from videozoo.settings.moments import MomentEval
from videozoo.tasks.moments.evaluation import didemo_line, recalls_of
from videozoo.tasks.moments.submissions import score_answers
from videozoo.tasks.score.request import Scored, ScoreRequest

_TIOUS = MomentEval().tious
_MOST = 5  # numbers of QVHighlights that come first: those that papers give


def score_moments(results: MomentResults, request: ScoreRequest) -> Scored:
    """Measure moments: R@n at tIoUs, mean tIoU, and the numbers of QVHighlights.

    Raises:
        DataError: The truth cannot be read, or the two files do not fit.
    """
    request.check_reading_unused()
    if request.subset is not None:
        raise UsageError("--subset: sentences have no subsets; name the file of one part")
    truth = request.one_truth
    found = score_answers(request.results, results.answers, truth)
    views = MomentEval(nms_limit=None, tious=request.tious or _TIOUS)
    recalls = recalls_of(found.searches, views)["recall"]
    mean = mean_tiou(found.searches)
    published = {name: share / 100 for name, share in found.scores.published.items()}
    return Scored(
        truth=f"{found.form or 'sentences'} ({counted(found.scores.sentences, 'sentence')})",
        facts={
            "kind": "moments",
            "sentences": found.scores.sentences,
            "unanswered": found.scores.unanswered,
            "mean_tiou": mean,
            "recall": recalls,
            "metrics": published | ({} if found.didemo is None else found.didemo.published),
        },
        tables=[
            recall_table(recalls, title="R@n at tIoU"),
            f"mean tIoU of the best moment: {percent(mean)}",
            f"as QVHighlights: {_line(published, 0, _MOST)}",
            f"  {_line(published, _MOST, None)}",
            *([] if found.didemo is None else [didemo_line(found.didemo)]),
        ],
        notes=list(found.notes),
    )


def _line(shares: dict[str, float], first: int, last: int | None) -> str:
    named = list(shares.items())[first:last]
    return ", ".join(f"{name} {percent(share)}" for name, share in named if share == share)

"""Score a trained model of moment retrieval on sentences with known moments."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from videozoo.data.moments import load_moments, load_readable_moments
from videozoo.errors import counted
from videozoo.metrics.moments import (
    AP_TIOUS,
    MOST_MOMENTS,
    DidemoScores,
    QVHighlightsScores,
    Search,
    mean_tiou,
    recall,
    recall_2019,
)
from videozoo.report.tables import percent, recall_table
from videozoo.settings.moments import MomentEval
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.moments.presence import PRESENCE, Presence, parted, with_others
from videozoo.tasks.moments.scoring import (
    check_origin,
    moment_model,
    results_file,
    search,
    sentence_maker,
    shortfall,
)
from videozoo.tasks.moments.submissions import didemo_of, scores_of, submission_file


def _evaluated(job: EvalJob) -> Evaluated:
    config = job.config
    load = load_readable_moments if job.skip_bad else load_moments
    moments = load(
        config.data,
        "test",
        visual_dim=config.model.visual_dim,
        sentence_dim=config.model.sentence_dim,
        make=sentence_maker(config),
    )
    job.note(moments.notes)
    check_origin(moments, job.trained, config.model.sentence_dim, job.say)
    model = job.model(moment_model)
    job.say(f"{config.spec.title}: {len(moments)} sentences in {len(moments.videos)} videos")
    started = time.monotonic()
    learnt = Presence.stored(job.trained.measured)
    asked = moments if learnt is None else with_others(moments)
    searched = search(
        model,
        config.data,
        asked,
        job.accelerator,
        batch_size=config.eval.batch_size,
        skip_bad=job.skip_bad,
        show=True,
    )
    short, used = shortfall(searched, moments), len(searched.by_number)
    own, others = parted(searched, moments)
    searches = [one.search for one in own]
    scores, by_person = scores_of(own, limit=config.eval.nms_limit), didemo_of(own)
    presence = None if learnt is None or not others else learnt.tried_on(own, others)

    def measure() -> dict[str, Any]:
        return {
            "videos": used,
            "sentences": len(searches),
            "seconds": round(time.monotonic() - started, 3),
            "mean_tiou": mean_tiou(searches),
            **recalls_of(searches, config.eval),
            "metrics": _shares(scores) | ({} if by_person is None else by_person.published),
            **({} if presence is None else {PRESENCE: presence.facts}),
            "skipped": [*short.left_out, *short.failed],
            "config": config.as_dict(),
        }

    part = f", on {used} of {counted(short.total, 'video')}" if short.failed else ""
    return Evaluated(
        measure=measure,
        shortfall=short,
        tables=lambda facts: (
            recall_table(facts["recall"], title="R@n at tIoU"),
            recall_table(facts["recall_2019"], title="The same, as counted in the 2019 library"),
            f"mean tIoU of the best moment: {percent(facts['mean_tiou'])}{part}",
            *_precision_lines(scores),
            *([] if by_person is None else [didemo_line(by_person)]),
            *([] if presence is None else [_presence_line(presence)]),
        ),
        file=results_file(job, config.eval.results_name, lambda: _results_2019(searches)),
        submission=submission_file(
            job,
            config.eval.submission_name,
            lambda: own,
            limit=config.eval.nms_limit,
            unit=moments.unit,
        ),
    )


evaluate = Evaluation(run=_evaluated)


def _shares(scores: QVHighlightsScores) -> dict[str, float]:
    """The numbers of QVHighlights that there are, in [0, 1]."""
    return {name: value / 100 for name, value in scores.published.items() if value == value}


def _precision_lines(scores: QVHighlightsScores) -> Iterator[str]:
    """Average precision, and that of highlights where clips are labelled."""
    at = dict(zip(AP_TIOUS, scores.ap, strict=True))
    yield (
        f"mAP of the best {MOST_MOMENTS} moments, mean over tIoU .5 to .95: "
        f"{percent(scores.mean_ap)}; at .5 {percent(at[0.5])}, at .75 {percent(at[0.75])}"
    )
    if "very_good" in scores.highlights:
        mean_ap, hit = scores.highlights["very_good"]
        yield (
            f"highlights (very good): mAP {percent(mean_ap)}, Hit@1 {percent(hit)}; a clip scores "
            "as the best moment over it"
        )


def didemo_line(scores: DidemoScores) -> str:
    """The numbers of DiDeMo in words."""
    shares = ", ".join(f"{name} {percent(share)}" for name, share in scores.published.items())
    return f"as DiDeMo, of {counted(scores.sentences, 'sentence')}, in cells of 5 s: {shares}"


def _presence_line(presence: Presence) -> str:
    return (
        f"is it in the video at all, by a score of {presence.least_score:.3g} or more: right in "
        f"{percent(presence.balanced_accuracy)} (balanced), {presence.present} sentences in their "
        f"own video and {presence.absent} in another"
    )


def recalls_of(
    searches: Sequence[Search], settings: MomentEval
) -> dict[str, list[dict[str, float]]]:
    """R@n at every tIoU, by the usual protocol and by that of the 2019 library."""
    found: dict[str, list[dict[str, float]]] = {"recall": [], "recall_2019": []}
    for tiou in settings.tious:
        for n in settings.recall_at:
            usual = recall(searches, n=n, threshold=tiou, limit=settings.nms_limit)
            old = recall_2019(searches, n=n, threshold=tiou)
            found["recall"].append({"n": n, "tiou": tiou, "share": usual})
            found["recall_2019"].append({"n": n, "tiou": tiou, "share": old})
    return found


def _results_2019(searches: Sequence[Search]) -> dict[str, Any]:
    best = {f"best_R{n}_IOU5": recall_2019(searches, n=n, threshold=0.5) for n in (1, 5)}
    return {"version": "VERSION 1.0", "results": best, "external_data": {}}
